//! Each member says what it is, keeps the workspace's lints, and forbids unsafe code.

use toml::{Table, Value};

use super::Tree;

/// These deny it by the workspace's lints and allow it, with the reason, where decoding is
/// confined and where a processor's own instructions hash.
const MAY_ARGUE: [&str; 2] = ["agent", "payload-tools"];

pub(super) fn complaints(tree: &Tree) -> Vec<String> {
    let text = tree.text("Cargo.toml").unwrap_or_default();
    let workspace = table(text);
    let mut complaints = Vec::new();
    let lint = get(&workspace, &["workspace", "lints", "rust", "unsafe_code"]);
    if lint.and_then(Value::as_str) != Some("deny") {
        complaints.push("Cargo.toml: the workspace does not deny unsafe_code".to_owned());
    }
    let members = get(&workspace, &["workspace", "members"]).and_then(Value::as_array);
    for member in members.into_iter().flatten().filter_map(Value::as_str) {
        complaints.extend(undescribed(text, member));
        complaints.extend(loose(tree, member));
    }
    complaints
}

/// A member without a comment above it.
fn undescribed(text: &str, member: &str) -> Option<String> {
    let quoted = format!("\"{member}\",");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let described = lines.windows(2).any(|pair| pair[0].starts_with('#') && pair[1] == quoted);
    (!described).then(|| format!("Cargo.toml does not say what `{member}` is"))
}

/// What a member leaves open.
fn loose(tree: &Tree, member: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let manifest = table(tree.text(&format!("{member}/Cargo.toml")).unwrap_or_default());
    if get(&manifest, &["lints", "workspace"]) != Some(&Value::Boolean(true)) {
        complaints.push(format!("{member}/Cargo.toml lacks lints.workspace = true"));
    }
    let roots = ["lib.rs", "main.rs"].map(|file| format!("{member}/src/{file}"));
    let root = roots.iter().find_map(|path| tree.text(path)).unwrap_or_default();
    if !MAY_ARGUE.contains(&member) && !root.contains("#![forbid(unsafe_code)]") {
        complaints.push(format!("the root of {member} lacks #![forbid(unsafe_code)]"));
    }
    complaints
}

fn table(text: &str) -> Table {
    text.parse().unwrap_or_default()
}

fn get<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, key| value.get(key))
}
