use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn line(argv: &[impl AsRef<str>], mode: ArgsMode) -> String {
    let argv: Vec<RawText> = argv.iter().map(|arg| RawText::from(arg.as_ref())).collect();
    render(&argv, false, mode).unwrap().to_escaped()
}

fn quoted(argv: &[String]) -> String {
    let mut out = Vec::new();
    for (at, word) in argv.iter().enumerate() {
        if at > 0 {
            out.push(b' ');
        }
        quote(word.as_bytes(), &mut out);
    }
    RawText::from(out).to_escaped()
}

/// `{alnum:36}` becomes so many characters by chance, always the same, so that no file holds what looks like a token.
fn expand(word: &str, n: usize) -> String {
    let Some((before, rest)) = word.split_once('{') else { return word.to_owned() };
    let expanded = rest.split_once('}').and_then(|(what, after)| {
        let (alphabet, len) = what.split_once(':')?;
        let alphabet: &[u8] = match alphabet {
            "alnum" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "base64" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
            "hex" => b"0123456789abcdef",
            "upper" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
            "digit" => b"0123456789",
            _ => return None,
        };
        let mut bytes = vec![0; len.parse().ok()?];
        blake3::Hasher::new()
            .update(word.as_bytes())
            .update(&n.to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        let text: String =
            bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect();
        Some(format!("{before}{text}{}", expand(after, n)))
    });
    expanded.unwrap_or_else(|| format!("{before}{{{}", expand(rest, n)))
}

fn corpus(kind: &str, n: usize) -> Vec<Vec<String>> {
    let text = include_str!("../../vectors/args.json");
    let mut corpus: BTreeMap<String, Vec<Vec<String>>> = serde_json::from_str(text).unwrap();
    let lines = corpus.remove(kind).unwrap();
    lines.iter().map(|argv| argv.iter().map(|word| expand(word, n)).collect()).collect()
}

/// What stands between the marks, and the word with each of them masked.
fn marked(word: &str) -> (Vec<String>, String, String) {
    let (mut secrets, mut raw, mut shown) = (Vec::new(), String::new(), String::new());
    let mut rest = word;
    while let Some((before, secret, after)) = rest
        .split_once('⟦')
        .and_then(|(before, rest)| rest.split_once('⟧').map(|(secret, after)| (before, secret, after)))
    {
        raw.extend([before, secret]);
        shown.extend([before, "***"]);
        secrets.push(secret.to_owned());
        rest = after;
    }
    (secrets, raw + rest, shown + rest)
}

#[test]
fn secrets_of_the_corpus_go_and_nothing_else() {
    let mut wrong = Vec::new();
    // Random words differ from one to the next.
    for n in 0..20 {
        for argv in corpus("secret", n) {
            let words: Vec<_> = argv.iter().map(|word| marked(word)).collect();
            let raw: Vec<&str> = words.iter().map(|(_, raw, _)| raw.as_str()).collect();
            let shown: Vec<String> = words.iter().map(|(_, _, shown)| shown.clone()).collect();
            assert!(words.iter().any(|(secrets, ..)| !secrets.is_empty()), "{argv:?} has no secret");
            let scrubbed = line(&raw, ArgsMode::Scrubbed);
            if scrubbed != quoted(&shown) {
                wrong.push(format!("{scrubbed}\n    should be {}", quoted(&shown)));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn readable_lines_of_the_corpus_stay() {
    let mut wrong = Vec::new();
    for n in 0..20 {
        for argv in corpus("readable", n) {
            let scrubbed = line(&argv, ArgsMode::Scrubbed);
            if scrubbed != quoted(&argv) {
                wrong.push(format!("{scrubbed}\n    should be {}", quoted(&argv)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn words_are_quoted_as_a_shell_reads_them() {
    assert_eq!(
        line(&["sh", "-c", "echo it's; ls", ""], ArgsMode::Scrubbed),
        r"sh -c 'echo it'\''s; ls' ''".replace('\\', "\\\\")
    );
    let raw = render(&["x".into(), RawText::from(&b"\xff"[..])], true, ArgsMode::Scrubbed).unwrap();
    assert_eq!(raw.to_escaped(), "x \\xff …");
}

#[test]
fn modes() {
    assert_eq!(line(&["a", "b"], ArgsMode::Hashed), format!("a {}", &blake3::hash(b"b").to_hex()[..16]));
    assert_eq!(render(&["a".into()], false, ArgsMode::Off), None);
    assert!("x".parse::<ArgsMode>().unwrap_err().to_string().contains("scrubbed"));
}

#[test]
fn titles_are_no_names() {
    let title = line(&["app: --password hunter2"], ArgsMode::Hashed);
    assert!(title.starts_with("app: ") && !title.contains("hunter2"), "{title}");
}

#[test]
fn long_lines_are_cut() {
    let long = "y".repeat(10_000);
    let cut = line(&["x", &long], ArgsMode::Scrubbed);
    assert!(cut.ends_with("y …") && cut.len() < COMMAND_LINE_BYTES + 8);
    let argv = ["psql".into(), "postgres://me:hunter2".into()];
    assert_eq!(render(&argv, true, ArgsMode::Scrubbed).unwrap().to_escaped(), "psql 'postgres://me:***' …");
}

/// A place for a secret, and whether the secret may hold everything there.
fn slot() -> impl Strategy<Value = (&'static str, bool)> {
    prop::sample::select(vec![
        ("app|--password|§", true),
        ("app|--db-password=§", true),
        ("env|PGPASSWORD=§", true),
        ("mysql|-p§", true),
        ("/usr/bin/mysql|-u|me|-p§", true),
        ("docker|exec|db|mysql|-p§", true),
        ("sshpass|-p|§", true),
        ("redis-cli|-a|§", true),
        ("docker|login|-p|§", true),
        ("curl|-u|me:§", true),
        ("curl|-H|Authorization: Bearer §", true),
        ("curl|-H|X-Api-Key: §", true),
        ("openssl|rsa|-passin|pass:§", true),
        ("java|-Dx.password=§", true),
        ("helm|install|--set|db.password=§", false),
        ("sh|-c|mysql -p§ db", false),
        ("sh|-c|PGPASSWORD=§ psql", false),
        ("sh|-c|curl -H 'Authorization: Bearer §' h", false),
        ("psql|postgres://me:§@db/x", false),
        ("curl|https://h/p?token=§&x=1", false),
        ("app|{\"password\":\"§\"}", false),
        ("app|Server=db;Pwd=§;", false),
        ("title: --token §", false),
    ])
}

proptest! {
    #[test]
    fn a_secret_in_a_known_place_never_survives(
        (line, any) in slot(),
        anything in "[!-~]{12,40}",
        plain in "[A-Za-z0-9_%+~.-]{12,40}",
    ) {
        let secret = if any { anything } else { plain };
        // What begins with a dash and is a word of letters would be taken for an option that takes nothing.
        prop_assume!(!secret.starts_with('-'));
        let argv: Vec<RawText> =
            line.split('|').map(|word| RawText::from(word.replace('§', &secret).as_str())).collect();
        for mode in [ArgsMode::Scrubbed, ArgsMode::Hashed, ArgsMode::Off] {
            let shown = render(&argv, false, mode).map(|line| line.to_escaped()).unwrap_or_default();
            // Nor does a part of it; signs may be escaped.
            let parts = secret.as_bytes().windows(4).filter_map(|part| std::str::from_utf8(part).ok());
            let parts = parts.filter(|part| part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            for part in parts.filter(|part| mode == ArgsMode::Scrubbed && !line.contains(part)) {
                prop_assert!(!shown.contains(part), "{part} in {shown}");
            }
            prop_assert!(!shown.contains(&secret), "{shown}");
        }
    }

    #[test]
    fn hashes_are_stable_and_tell_arguments_apart(a in ".{1,20}", b in ".{1,20}") {
        let hashed = |arg: &str| line(&["x", arg], ArgsMode::Hashed);
        prop_assert_eq!(hashed(&a), hashed(&a));
        prop_assert_eq!(hashed(&a) == hashed(&b), a == b);
    }

    #[test]
    fn any_bytes_are_rendered_within_bounds(
        argv in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..40),
        signs in any::<bool>(),
    ) {
        let of = |byte: u8| if signs { b"a-=:'\" ;&@/pK{"[usize::from(byte) % 14] } else { byte };
        let argv: Vec<RawText> =
            argv.into_iter().map(|arg| arg.into_iter().map(of).collect::<Vec<u8>>().into()).collect();
        for mode in [ArgsMode::Scrubbed, ArgsMode::Hashed] {
            let line = render(&argv, false, mode);
            prop_assert_eq!(line.is_none(), argv.is_empty());
            prop_assert!(line.is_none_or(|line| line.as_bytes().len() <= COMMAND_LINE_BYTES + " …".len()));
        }
    }
}
