//! The command line as its own help tells it: the README has every command, and some test gives every option.

use std::collections::BTreeSet;
use std::path::Path;

use wsp_tests::program::{root, run};

/// A command and its help.
struct Command {
    /// As typed, with the program.
    path: String,
    help: String,
}

/// All commands of a program, below it.
fn commands(program: &str) -> Vec<Command> {
    let mut all = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let help = run(program, path.iter().map(String::as_str).chain(["--help"])).ok();
        for name in subcommands(&help) {
            let mut path = path.clone();
            path.push(name);
            open.push(path);
        }
        all.push(Command {
            path: std::iter::once(program.to_owned()).chain(path).collect::<Vec<_>>().join(" "),
            help,
        });
    }
    all
}

/// Names stand two columns in, what they do further right.
fn subcommands(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split_once(' ')).map(|(name, _)| name);
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// The long names of options, `--help` and `--version` aside.
fn options(help: &str) -> BTreeSet<String> {
    let named = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let names = named.filter_map(|line| line.split([' ', ',', '.', '=']).find(|word| word.starts_with("--")));
    names.filter(|name| !["--help", "--version"].contains(name)).map(str::to_owned).collect()
}

/// It does something by itself.
fn is_run(command: &Command) -> bool {
    let usage = command.help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap();
    !usage.ends_with("<COMMAND>")
}

/// The first column of the table of a section of the README.
fn first_column(title: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let title = format!("{title}\n");
    let section = readme.split("\n## ").find(|section| section.starts_with(&title)).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let names = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

#[test]
fn the_readme_has_every_command_and_no_other() {
    let map = first_column("Commands");
    let wsp: BTreeSet<String> =
        commands("wsp").iter().filter(|one| is_run(one)).map(|one| one.path.clone()).collect();
    assert!(wsp.len() > 8, "{wsp:?}");
    // The commands of `wsp-capture` stand in one cell, the first one with the program.
    let capture: BTreeSet<String> =
        commands("wsp-capture").iter().filter(|one| is_run(one)).map(|one| one.path.clone()).collect();
    let named = |name: &String| match name.split_once(' ') {
        Some(("wsp" | "wsp-capture", _)) => name.clone(),
        _ => format!("wsp-capture {name}"),
    };
    let map: BTreeSet<String> = map.iter().map(named).collect();
    let all: BTreeSet<String> = wsp.union(&capture).cloned().collect();
    let missing: Vec<_> = all.difference(&map).collect();
    assert!(missing.is_empty(), "the README's map of commands does not have {missing:?}");
    let unknown: Vec<_> = map.difference(&all).collect();
    assert!(unknown.is_empty(), "the README's map of commands has {unknown:?}, which no program knows");
}

#[test]
fn the_readme_has_every_view_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let _ = run("wsp", ["demo", "--dir", dir]).ok();
    let query = "select distinct view from docs where view not like 'raw.%'";
    let views = run("wsp", ["sql", query, "--store", dir, "--format", "csv"]).ok();
    let views: BTreeSet<&str> = views.lines().skip(1).collect();
    let map = first_column("Tables");
    assert_eq!(map.iter().map(String::as_str).collect::<BTreeSet<_>>(), views);
}

fn tests_below(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &std::fs::read_to_string(&path).unwrap();
        }
    }
}

#[test]
fn every_option_is_given_by_a_test() {
    let mut tests = String::new();
    tests_below(&root().join("tests/tests"), &mut tests);
    for command in commands("wsp") {
        for option in options(&command.help) {
            let given = tests.contains(&format!("\"{option}\"")) || tests.contains(&format!("\"{option}="));
            assert!(given, "no test gives {option}, which `{}` has", command.path);
        }
    }
}
