//! Rust files: how long, and what is not in them. Every file: nothing put off, no machine's paths.

use syn::visit::{self, Visit};

use super::Text;

const FILE_LINES: usize = 400;
const TEST_FILE_LINES: usize = 650;
const FUNCTION_LINES: usize = 70;
const PUT_OFF: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
const MACHINE_PATHS: [&str; 3] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
const UNFINISHED: [&str; 3] = ["dbg", "todo", "unimplemented"];

pub(super) fn complaints(file: &Text) -> Vec<String> {
    let Text { path, text } = file;
    let mut complaints = Vec::new();
    for word in PUT_OFF {
        if text.split(|c: char| !c.is_alphanumeric()).any(|found| found == word) {
            complaints.push(format!("{path} says {word}: do it, or file an issue"));
        }
    }
    for folder in MACHINE_PATHS.into_iter().filter(|folder| text.contains(folder)) {
        complaints.push(format!("{path} names a folder of one machine: {folder}"));
    }
    if path.ends_with(".rs") {
        complaints.extend(rust(path, text));
    }
    complaints
}

fn rust(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let most = if is_test(path) { TEST_FILE_LINES } else { FILE_LINES };
    let lines = text.lines().count();
    if lines > most {
        complaints.push(format!("{path} has {lines} lines, more than {most}"));
    }
    match syn::parse_file(text) {
        Ok(parsed) => {
            let mut reader = Reader { path, complaints };
            reader.visit_file(&parsed);
            reader.complaints
        }
        Err(error) => {
            complaints.push(format!("{path} cannot be read: {error}"));
            complaints
        }
    }
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

struct Reader<'a> {
    path: &'a str,
    complaints: Vec<String>,
}

impl Reader<'_> {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let lines = block.brace_token.span.close().end().line - first + 1;
        if lines > FUNCTION_LINES {
            let (path, name) = (self.path, &signature.ident);
            let complaint =
                format!("{path}:{first}: `{name}` has {lines} lines, more than {FUNCTION_LINES}");
            self.complaints.push(complaint);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.function(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("ignore") {
            self.complaints.push(format!("{}: a test is ignored", self.path));
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string());
        if let Some(name) = name.filter(|name| UNFINISHED.contains(&name.as_str())) {
            self.complaints.push(format!("{} calls {name}!", self.path));
        }
    }
}
