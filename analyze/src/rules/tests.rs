use super::*;

fn context() -> datafusion::prelude::SessionContext {
    crate::session::new(&crate::session::Resources::default()).unwrap()
}

#[test]
fn shipped_rules_do_what_their_examples_say() {
    let rules = shipped(&context()).unwrap();
    assert!(rules.iter().len() >= 25);
    let mut errors = Vec::new();
    for rule in rules.iter() {
        let raising = rule.examples.iter().filter(|example| example.raises).count();
        assert!(raising > 0 && raising < rule.examples.len(), "{}: examples of both kinds", rule.id);
        errors.extend(example::run(rule).iter().map(ToString::to_string));
    }
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn what_is_wrong_with_a_rule_is_said() {
    let good = r#"
        id = "a"
        title = "t"
        severity = "low"
        description = "d"
        predicate = "kind = 'process'"
    "#;
    let context = context();
    assert!(parse(&context, good.as_bytes(), Origin::Shipped).is_ok());
    let changed = |from: &str, to: &str| good.replace(from, to);
    let huge = "x".repeat(70_000);
    for (text, reason) in [
        (changed("\"a\"", "\"A b\""), "`id` has 1 to 64 of a-z"),
        (changed("\"a\"", "\"novelty\""), "`id` is the name of what no rule is for"),
        (changed("\"t\"", "\"t\\u0007\""), "`title` is one line"),
        (changed("\"low\"", "\"worst\""), "unknown variant `worst`"),
        (changed("\"d\"", "\"\""), "`description` has 1 to 4000 bytes"),
        (changed("'process'", "'process"), "no condition over the row's columns"),
        (changed("kind =", "sort ="), "sort"),
        (changed("title", "titel"), "unknown field `titel`"),
        (changed("\"d\"", "7"), "invalid type: integer"),
        (format!("{good}\ntechnique = [\"1059\"]"), "`technique` lists up to 16"),
        (
            format!(
                "{good}\n[[example]]\nsays = \"x\"\nraises = true\nprocess = [{{ exe = \"/a\", parent = \"/b\" }}]"
            ),
            "no process `/b`",
        ),
        (
            format!(
                "{good}\n[[example]]\nsays = \"x\"\nraises = true\nprocess = [{{ exe = \"/a\", stdio = [\"x\"] }}]"
            ),
            "the stdio `x`",
        ),
        (
            format!(
                "{good}\n[[example]]\nsays = \"x\"\nraises = true\nprocess = [{{ exe = \"/a\", dns_generated = {{ count = 99999999999, below = \"x\", label_bytes = 5 }} }}]"
            ),
            "makes more than 10000 nodes",
        ),
        (format!("{good}\n# {huge}"), "more than 65536 bytes"),
        (format!("{good}{}", "[".repeat(30_000)), "TOML parse error"),
    ] {
        match parse(&context, text.as_bytes(), Origin::Shipped) {
            Ok(_) => panic!("{reason}: was taken"),
            Err(error) => assert!(error.to_string().contains(reason), "{reason}: {error}"),
        }
    }
    assert!(matches!(parse(&context, b"\xff", Origin::Shipped), Err(RuleError::NotText)));
}

#[tokio::test]
async fn a_user_rule_replaces_a_shipped_one() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |id: &str| {
        format!(
            "id = \"{id}\"\ntitle = \"mine\"\nseverity = \"low\"\ndescription = \"d\"\npredicate = \"false\"\n"
        )
    };
    std::fs::write(folder.path().join("a.toml"), rule("exec_session")).unwrap();
    std::fs::write(folder.path().join("readme.md"), "no rule").unwrap();
    let paths = [folder.path().to_owned()];
    let rules = load(&context(), None, &paths).await.unwrap();
    let found = rules.get("exec_session").unwrap();
    assert_eq!((found.title.as_str(), found.origin != Origin::Shipped), ("mine", true));
    let before = shipped(&context()).unwrap().hash();
    assert_ne!(rules.hash(), before);

    std::fs::write(folder.path().join("b.toml"), rule("exec_session")).unwrap();
    let error = load(&context(), None, &paths).await.unwrap_err();
    assert!(
        error.to_string().contains("has the id `exec_session`, which another file there has too"),
        "{error}"
    );
    std::fs::write(folder.path().join("b.toml"), "id = 1").unwrap();
    assert!(load(&context(), None, &paths).await.unwrap_err().to_string().contains("b.toml` cannot be used"));
    assert!(load(&context(), None, &[folder.path().join("none")]).await.is_err());
}
