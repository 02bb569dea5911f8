use clap::Subcommand;

use super::table;
use super::{CliError, Output, Remote, print_json};
use crate::api::admin::ReleaseView;

/// What can be done with releases.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Lists what was published, withdrawn releases included.
    List {
        #[command(flatten)]
        remote: Remote,
    },
}

impl Verb {
    /// The server that is asked.
    pub fn remote(&self) -> &Remote {
        let Self::List { remote } = self;
        remote
    }
}

pub async fn run(verb: Verb) -> Result<(), CliError> {
    let Verb::List { remote } = verb;
    let views: Vec<ReleaseView> = remote.get("releases").await?;
    if remote.output() == Output::Programs {
        return print_json(&views);
    }
    let rows: Vec<_> = views.iter().map(row).collect();
    table::print(["COMPATIBLE", "RELEASE", "COUNTER", "CHANNELS", "STATE", "PUBLISHED"], &rows);
    Ok(())
}

fn row(view: &ReleaseView) -> [String; 6] {
    let facts = &view.facts;
    let channels: Vec<_> = facts.channels.iter().map(|channel| channel.as_str()).collect();
    let state = match (view.withdrawn_at, facts.floor) {
        (Some(at), _) => format!("withdrawn {at}"),
        (None, true) => "offered, floor".to_owned(),
        (None, false) => "offered".to_owned(),
    };
    [
        facts.compatible.to_string(),
        facts.release.to_string(),
        facts.counter.to_string(),
        channels.join(","),
        state,
        view.published_at.to_string(),
    ]
}
