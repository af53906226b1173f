//! One page as one file: the shell, the front end, and the document that it shows.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use super::contract::{Document, Mode, Page};

/// The shell; what stands in `{{…}}` is filled in.
const SHELL: &str = include_str!("../../explorer/page.html");
/// Stands near the beginning of every page, in the shell.
pub(super) const MARK: &str = r#"<meta name="generator" content="wsp">"#;
const STYLE: &str = include_str!("../../explorer/dist/explorer.css");
const SCRIPT: &str = include_str!("../../explorer/dist/explorer.js");

static STYLE_HASH: LazyLock<String> = LazyLock::new(|| hash(STYLE));
static SCRIPT_HASH: LazyLock<String> = LazyLock::new(|| hash(SCRIPT));

/// The page as HTML. It asks for nothing when it is opened.
pub(super) fn html(document: &Document) -> Result<String, serde_json::Error> {
    let json = for_script(&serde_json::to_string(document)?);
    let title = for_html(&title(document));
    let policy = policy(&document.mode);
    let mut page = String::with_capacity(SHELL.len() + STYLE.len() + SCRIPT.len() + json.len());
    let mut rest = SHELL;
    // From the shell alone: what is filled in is never looked at again.
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        page += before;
        page += match name {
            "title" => &title,
            "csp" => &policy,
            "style" => STYLE,
            "script" => SCRIPT,
            "document" => &json,
            _ => "",
        };
        rest = after;
    }
    page += rest;
    Ok(page)
}

/// What a page may do: run this script, have this style; and ask its own server, where there is one.
pub(super) fn policy(mode: &Mode) -> String {
    let connect = match mode {
        Mode::Report => "'none'",
        Mode::Live { .. } => "'self'",
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src {connect}; base-uri 'none'; \
         form-action 'none'",
        *SCRIPT_HASH, *STYLE_HASH
    )
}

fn title(document: &Document) -> String {
    match &document.page {
        Page::Profiles(_) => "Profiles".to_owned(),
        Page::Signals(_) => "Signals".to_owned(),
        Page::Profile(page) => format!("{} revision {}", page.profile.image, page.profile.revision),
    }
}

fn hash(text: &str) -> String {
    BASE64.encode(Sha256::digest(text))
}

/// JSON that ends no script and begins no comment: such characters stand in texts only, where an escape means the same.
fn for_script(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len() + json.len() / 64);
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped += &format!("\\u{:04x}", u32::from(character));
            }
            character => escaped.push(character),
        }
    }
    escaped
}

fn for_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in wsp_schemas::text::for_display(text).chars() {
        match character {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explorer::contract::{FORMAT, ProfilesPage};

    fn document(store: &str) -> Document {
        Document {
            format: FORMAT,
            writer: "wsp".to_owned(),
            generated_at: "2026-11-24T00:00:00.000Z".to_owned(),
            store: store.to_owned(),
            store_arguments: String::new(),
            root: String::new(),
            mode: Mode::Report,
            only_image: None,
            page: Page::Profiles(ProfilesPage { profiles: Vec::new() }),
        }
    }

    #[test]
    fn nothing_of_a_document_is_markup() {
        let hostile = "</script><script>alert(1)</script><!--{{script}}&\u{2028}";
        let plain = html(&document("")).unwrap();
        let page = html(&document(hostile)).unwrap();
        assert_eq!(plain.matches("</script>").count(), page.matches("</script>").count());
        assert_eq!(page.len() - plain.len(), for_script(hostile).len());
        let start = page.find("application/json").unwrap();
        let json = &page[start..];
        let json = &json[json.find('{').unwrap()..json.find("</script>").unwrap()];
        let read: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(read["store"], hostile);
    }

    #[test]
    fn what_is_inlined_cannot_end_its_element() {
        assert!(!SCRIPT.to_lowercase().contains("</script") && !SCRIPT.contains("<!--"));
        assert!(!STYLE.to_lowercase().contains("</style"));
        assert!(SHELL.find(MARK).is_some_and(|at| at < 512));
        let names = ["title", "csp", "style", "script", "document"];
        assert!(names.iter().all(|name| SHELL.matches(&format!("{{{{{name}}}}}")).count() == 1));
    }
}
