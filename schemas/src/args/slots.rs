//! Options of well-known programs that take a secret and are not named so.

/// Where the secret stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Behind the option, without a space: `mysql -psecret`.
    Attached,
    /// In the next word: `redis-cli -a secret`.
    Next,
    /// Either.
    Both,
    /// In the next word or behind the option, after a sign: `curl -u user:secret`.
    After(u8),
}

/// One row: the programs, the word that must have come before, the options.
struct Slot {
    programs: &'static [&'static str],
    command: Option<&'static str>,
    options: &'static [&'static str],
    form: Form,
}

const fn slot(programs: &'static [&'static str], options: &'static [&'static str], form: Form) -> Slot {
    Slot { programs, command: None, options, form }
}

const SLOTS: &[Slot] = &[
    slot(
        &[
            "mysql",
            "mysqldump",
            "mysqladmin",
            "mysqlimport",
            "mysqlcheck",
            "mysqlshow",
            "mysqlbinlog",
            "mysqlsh",
            "mariadb",
            "mariadb-dump",
            "mariadb-admin",
            "mariadb-check",
            "mariadb-import",
        ],
        &["-p"],
        Form::Attached,
    ),
    slot(&["sshpass"], &["-p"], Form::Both),
    slot(&["redis-cli", "valkey-cli", "keydb-cli"], &["-a"], Form::Next),
    slot(
        &["mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport"],
        &["-p"],
        Form::Both,
    ),
    slot(&["clickhouse-client", "cypher-shell"], &["-p"], Form::Next),
    slot(&["sqlcmd", "bcp", "ipmitool", "mosquitto_pub", "mosquitto_sub"], &["-P"], Form::Both),
    slot(
        &["ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldappasswd", "ldapwhoami"],
        &["-w"],
        Form::Both,
    ),
    slot(&["curl"], &["-u", "--user", "-U", "--proxy-user"], Form::After(b':')),
    slot(&["curl"], &["-b"], Form::Next),
    slot(&["etcdctl"], &["--user"], Form::After(b':')),
    slot(&["http", "https", "xh"], &["-a"], Form::After(b':')),
    slot(&["smbclient", "rpcclient"], &["-U", "--user"], Form::After(b'%')),
    slot(&["lftp"], &["-u"], Form::After(b',')),
    slot(&["openssl"], &["-K", "-k"], Form::Next),
    slot(&["zip", "unzip"], &["-P"], Form::Both),
    slot(&["7z", "7za", "7zz", "rar", "unrar"], &["-p", "-hp"], Form::Attached),
    slot(&["snmpget", "snmpwalk", "snmpset", "snmpbulkwalk"], &["-A", "-X", "-c"], Form::Both),
    slot(&["useradd", "usermod"], &["-p"], Form::Next),
    slot(&["xfreerdp"], &["/p:"], Form::Attached),
    // Others run these, and mean something else by their options.
    slot(&["ssh", "scp", "sftp", "rsync"], &[], Form::Next),
    Slot {
        programs: &["docker", "podman", "nerdctl", "buildah", "skopeo", "helm", "oras", "crane", "az", "oc"],
        command: Some("login"),
        options: &["-p"],
        form: Form::Both,
    },
];

/// What the words so far make of an option.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Programs<'a> {
    /// The last word that is a program of the table: `docker exec db mysql` is mysql.
    program: Option<&'a [u8]>,
    login: bool,
}

impl<'a> Programs<'a> {
    /// Takes a word.
    pub(super) fn see(&mut self, word: &'a [u8]) {
        let name = word.rsplit(|byte| *byte == b'/').next().unwrap_or(word);
        if SLOTS.iter().any(|slot| slot.programs.iter().any(|program| program.as_bytes() == name)) {
            *self = Self { program: Some(name), login: false };
        }
        self.login |= word == b"login";
    }

    /// The form of an option, and how long its name is.
    pub(super) fn form(&self, word: &[u8]) -> Option<(Form, usize)> {
        let program = self.program?;
        let mine = SLOTS.iter().filter(|slot| {
            slot.programs.iter().any(|name| name.as_bytes() == program)
                && (slot.command.is_none() || self.login)
        });
        mine.flat_map(|slot| slot.options.iter().map(|option| (slot.form, option.len(), option.as_bytes())))
            .find(|(form, _, option)| match form {
                Form::Next => word == *option,
                Form::Attached => word.len() > option.len() && word.starts_with(option),
                Form::Both => word.starts_with(option),
                Form::After(_) if option.starts_with(b"--") => word == *option,
                Form::After(_) => word.starts_with(option),
            })
            .map(|(form, len, _)| (form, len))
    }
}
