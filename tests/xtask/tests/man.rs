//! Man pages and completions say what the command lines say.

use std::path::Path;
use std::process::Command;

use fs_err as fs;

/// Calls `look` with each command of a tree and the name of its page.
fn each(command: &clap::Command, page: &str, look: &mut impl FnMut(&clap::Command, &str)) {
    look(command, page);
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        each(verb, &format!("{page}-{}", verb.get_name()), look);
    }
}

/// The text of a page without what only the formatter reads.
fn plain(roff: &str) -> String {
    roff.replace("\\*(Aq", "'").replace("\\&", "").replace('\\', "")
}

/// An argument as a page has it: `--flag`, or the name of a value.
fn shown(argument: &clap::Arg) -> String {
    if let Some(long) = argument.get_long() {
        return format!("--{long}");
    }
    let names = argument.get_value_names().unwrap_or_default();
    names.first().map_or_else(|| argument.get_id().to_string().to_uppercase(), ToString::to_string)
}

fn share() -> tempfile::TempDir {
    let share = tempfile::tempdir().unwrap();
    let built = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["man", "--out"])
        .arg(share.path())
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    share
}

#[test]
fn each_verb_has_a_page_that_names_its_flags() {
    let share = share();
    let mut pages = 0;
    for mut command in xtask::program_commands() {
        command.build();
        let name = command.get_name().to_owned();
        each(&command, &name, &mut |command, page| {
            let path = share.path().join(format!("man/man1/{page}.1"));
            let text = plain(&fs::read_to_string(path).unwrap());
            for argument in command.get_arguments() {
                let name = shown(argument);
                assert!(text.contains(&name), "{page}.1 lacks {name}");
            }
            let about = command.get_about().unwrap().to_string();
            assert!(text.contains(&about), "{page}.1 lacks: {about}");
            pages += 1;
        });
    }
    assert_eq!(fs::read_dir(share.path().join("man/man1")).unwrap().count(), pages);
}

#[test]
fn completions_know_the_verbs() {
    let share = share();
    for mut command in xtask::program_commands() {
        command.build();
        let name = command.get_name();
        let files = [
            format!("bash-completion/completions/{name}.bash"),
            format!("zsh/vendor-completions/_{name}"),
            format!("fish/vendor_completions.d/{name}.fish"),
        ];
        for file in files {
            let text = fs::read_to_string(share.path().join(&file)).unwrap();
            for verb in command.get_subcommands() {
                assert!(text.contains(verb.get_name()), "{file} lacks {}", verb.get_name());
            }
        }
        bash_reads(&share.path().join(format!("bash-completion/completions/{name}.bash")));
    }
}

fn bash_reads(script: &Path) {
    let read = Command::new("bash").arg("-n").arg(script).output().unwrap();
    assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
}
