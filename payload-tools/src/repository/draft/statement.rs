//! What is going to be signed, in words.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::edit::is_signed;
use super::error::ids;
use super::gaps::new_gaps;
use super::sign::ids_at_hand;
use super::{Draft, DraftError, Gap, lifetime_days};
use crate::format::{Channel, Compatible, Hash, ReleaseFacts};
use crate::keyring::Signer;
use crate::repository::removals::Removals;
use crate::trust::metadata::{FileMeta, RoleKeys, Root, Targets, Unverified};
use crate::trust::{KeyId, Role, SignedRelease, UnixTime};

/// Everything that is going to be signed, to be read before it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// File by file.
    pub papers: Vec<Paper>,
    /// What is done besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Options without which nothing of it is done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<&'static str>,
}

/// One file that is going to be signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Paper {
    /// Whose it is.
    pub role: String,
    /// Its version.
    pub version: u64,
    /// From then on devices refuse it.
    pub expires: UnixTime,
    /// The keys at hand that will sign it.
    pub keys: Vec<KeyId>,
    /// The keys that have.
    pub signed: Vec<KeyId>,
    /// What it changes.
    pub lines: Vec<String>,
}

impl Statement {
    /// Says of a release of a compatible that it is listed again.
    pub(crate) fn say_again(&mut self, compatible: &Compatible, words: &str) {
        let role = Role::from(compatible).to_string();
        for paper in self.papers.iter_mut().filter(|paper| paper.role == role) {
            paper.lines.push(format!("again      {words}"));
        }
    }
}

impl Draft {
    /// What [`Draft::sign`] would sign.
    pub fn statement(&self, signer: &impl Signer) -> Result<Statement, DraftError> {
        let at_hand = ids_at_hand(signer);
        let mut papers = Vec::new();
        for (role, file) in self.changed() {
            let keys = self.needed_keys(&role, &|signers| file.signed_by(signers), &at_hand)?;
            let requirements = self.requirements(&role)?;
            let signed: BTreeSet<_> =
                requirements.iter().flat_map(|needed| file.signed_by(needed.signers)).collect();
            papers.push(Paper {
                signed: signed.into_iter().collect(),
                version: file.version(),
                expires: file.expires(),
                keys: keys.into_iter().collect(),
                lines: self.lines(&role)?,
                role: role.to_string(),
            });
        }
        Ok(Statement { papers, ..Statement::default() })
    }

    /// The same with the snapshot that is going to be made of it, unless signatures will lack: then
    /// none is.
    pub fn statement_to_publish(
        &self,
        signer: &impl Signer,
        now: UnixTime,
    ) -> Result<Statement, DraftError> {
        let mut statement = self.statement(signer)?;
        let at_hand = ids_at_hand(signer);
        if self.snapshot.is_none() && self.will_be_complete(&at_hand)? {
            let role = Role::Snapshot;
            let keys = self.needed_keys(&role, &|_| BTreeSet::new(), &at_hand)?;
            statement.papers.push(Paper {
                version: self.next_version(&role)?,
                expires: now.plus_days(lifetime_days::SNAPSHOT),
                signed: Vec::new(),
                keys: keys.into_iter().collect(),
                lines: self.lines(&role)?,
                role: role.to_string(),
            });
        }
        Ok(statement)
    }

    fn lines(&self, role: &Role) -> Result<Vec<String>, DraftError> {
        let removals = self.base.as_ref().map(Removals::of).unwrap_or_default();
        Ok(match role {
            Role::Root => {
                let before = self.base.as_ref().map(|state| &**state.chain.root());
                self.root().map(|after| root(before, after, &removals)).unwrap_or_default()
            }
            Role::Targets => {
                let before = self.base.as_ref().map(|state| &*state.targets.metadata);
                self.targets().map(|after| targets(before, after, &removals)).unwrap_or_default()
            }
            Role::Snapshot | Role::Timestamp => vec![self.versions()?],
            Role::Delegated(name) => match name.as_str().parse() {
                Ok(compatible) => self.releases_lines(&compatible)?,
                Err(_) => Vec::new(),
            },
        })
    }

    fn versions(&self) -> Result<String, DraftError> {
        if let Some(file) = &self.snapshot {
            let mut named: Vec<_> = file.claims().meta.iter().collect();
            named.sort_by_key(|(name, _)| **name != Role::Targets.meta_path());
            let version = |(name, meta): &(&String, &FileMeta)| {
                format!("{} {}", name.trim_end_matches(".json"), meta.version)
            };
            let named: Vec<_> = named.iter().map(version).collect();
            return Ok(format!("current    {}", named.join(", ")));
        }
        let mut named = Vec::new();
        let version = |changed: Option<u64>, role: &Role| match changed {
            Some(version) => Ok(version),
            None => Ok::<_, DraftError>(self.next_version(role)?.saturating_sub(1)),
        };
        let changed = self.targets.as_ref().map(Unverified::version);
        named.push(format!("targets {}", version(changed, &Role::Targets)?));
        for compatible in self.compatibles() {
            let changed = self.delegated.get(&compatible).map(Unverified::version);
            named.push(format!("{compatible} {}", version(changed, &Role::from(&compatible))?));
        }
        Ok(format!("current    {}", named.join(", ")))
    }

    fn releases_lines(&self, compatible: &Compatible) -> Result<Vec<String>, DraftError> {
        let before = self.published_releases(compatible)?;
        let after = self.releases(compatible)?;
        Ok(match before {
            None if after.is_empty() => vec!["begins     without releases".to_owned()],
            before => releases(&before.unwrap_or_default(), &after, self.unchanged(compatible)?),
        })
    }

    fn unchanged(&self, compatible: &Compatible) -> Result<Unchanged, DraftError> {
        let role = Role::from(compatible);
        let held = self.base.as_ref().and_then(|state| state.delegated.get(compatible));
        let signers = self.signers(&role)?;
        let vouched = held.map(|held| is_signed::<Targets>(&role, &held.bytes, signers));
        Ok(match vouched.transpose()? {
            Some(false) => Unchanged::Shown,
            _ => Unchanged::Counted,
        })
    }
}

fn root(before: Option<&Root>, after: &Root, removals: &Removals) -> Vec<String> {
    let keys =
        |role: fn(&Root) -> &RoleKeys, name| keys(name, before.map(role), role(after), removals);
    let mut lines = keys(|root| &root.roles.root, "root");
    lines.extend(keys(|root| &root.roles.targets, "targets"));
    lines.extend(keys(|root| &root.roles.snapshot, "snapshot"));
    lines.extend(keys(|root| &root.roles.timestamp, "timestamp"));
    lines
}

fn targets(before: Option<&Targets>, after: &Targets, removals: &Removals) -> Vec<String> {
    let roles = |targets: Option<&Targets>| {
        let roles =
            targets.and_then(|targets| targets.delegations.clone()).unwrap_or_default().roles;
        roles.into_iter().map(|role| (role.name.to_string(), role.keys)).collect::<Vec<_>>()
    };
    let (before, after) = (roles(before), roles(Some(after)));
    let of = |all: &[(String, RoleKeys)], name: &str| {
        all.iter().find(|(held, _)| held == name).map(|(_, keys)| keys.clone())
    };
    let mut lines = Vec::new();
    for (name, now) in &after {
        lines.extend(keys(name, of(&before, name).as_ref(), now, removals));
    }
    for (name, _) in before.iter().filter(|(name, _)| of(&after, name).is_none()) {
        lines.push(format!("{name:<10} is revoked: devices believe nothing that it lists"));
    }
    lines
}

/// Who signs for a role, and what that changes.
fn keys(
    name: &str,
    before: Option<&RoleKeys>,
    after: &RoleKeys,
    removals: &Removals,
) -> Vec<String> {
    let count = |keys: &RoleKeys| format!("{} of {}", keys.threshold, keys.keyids.len());
    if before == Some(after) {
        return vec![format!("{name:<10} as before, {}: {}", count(after), ids(&after.keyids))];
    }
    let was = before.map(|before| format!(" (until now {})", count(before))).unwrap_or_default();
    let mut lines = vec![format!("{name:<10} {} must sign{was}", count(after))];
    let old = before.map(|before| before.keyids.clone()).unwrap_or_default();
    for id in &after.keyids {
        if old.contains(id) {
            lines.push(format!("  {:<8} key {id:.16}", "stays"));
            continue;
        }
        let was = removals.find(id, Some(name)).map(|was| format!(", which {was}"));
        lines.push(format!("  {:<8} key {id:.16}{}", "in", was.unwrap_or_default()));
    }
    for id in old.iter().filter(|id| !after.keyids.contains(id)) {
        lines.push(format!("  {:<8} key {id:.16}", "out"));
    }
    lines
}

/// How much is said of the releases that stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unchanged {
    /// Those who sign have signed them before.
    Counted,
    /// Other keys have, one of which may have been stolen.
    Shown,
}

fn releases(
    before: &[SignedRelease],
    after: &[SignedRelease],
    unchanged: Unchanged,
) -> Vec<String> {
    let mut lines = Vec::new();
    for release in after.iter().filter(|release| !before.contains(release)) {
        lines.extend(release_lines(release));
        lines.extend(older_line(before, release));
    }
    for Gap { floor, release, channel } in new_gaps(before, after) {
        lines.push(format!(
            "past       {floor}, a floor: devices of {channel} go to {release} without it"
        ));
    }
    let gone = |old: &&SignedRelease| {
        after.iter().all(|release| release.facts().release != old.facts().release)
    };
    for facts in before.iter().filter(gone).map(SignedRelease::facts) {
        let floor = if facts.floor { ", a floor: devices may skip it from now on" } else { "" };
        lines.push(format!("withdraws  {} (counter {}){floor}", facts.release, facts.counter));
    }
    let same: Vec<_> = after.iter().filter(|release| before.contains(release)).collect();
    let told = match same.as_slice() {
        [] if lines.is_empty() => vec!["unchanged  releases: none".to_owned()],
        [] => Vec::new(),
        same if lines.is_empty() || unchanged == Unchanged::Shown => {
            let line = |release: &&SignedRelease| {
                format!("unchanged  {}", in_a_line(release.facts(), &release.sha256()))
            };
            same.iter().map(line).collect()
        }
        same => vec![format!("unchanged  releases: {}", same.len())],
    };
    // What is new comes last, where it is still to be seen below a long list.
    [told, lines].concat()
}

/// A release and all that is signed of it, as short as it can be told from another.
pub(in crate::repository) fn in_a_line(facts: &ReleaseFacts, sha256: &Hash) -> String {
    let ReleaseFacts { release, counter, min_from, floor, downgrade_from, .. } = facts;
    let channels: Vec<_> = facts.channels.iter().map(Channel::as_str).collect();
    let mut line = format!("{release} (counter {counter}), manifest {sha256:.16}");
    line += &format!(", channels {}", channels.join(" "));
    if *min_from > 0 {
        line += &format!(", from counter {min_from} on");
    }
    if *floor {
        line += ", a floor";
    }
    if let Some(range) = downgrade_from {
        let (lo, hi) = (range.lo, range.hi);
        line += &format!(", downgrade from counters {lo} to {hi} until {}", range.expires);
    }
    line
}

fn release_lines(release: &SignedRelease) -> Vec<String> {
    let facts = release.facts();
    let channels: Vec<_> = facts.channels.iter().map(Channel::as_str).collect();
    let mut lines = vec![
        format!("release    {} (counter {})", facts.release, facts.counter),
        format!("channels   {}", channels.join(", ")),
        match facts.min_from {
            0 => "from       any older release".to_owned(),
            counter => format!("from       counter {counter} on"),
        },
    ];
    if facts.floor {
        lines.push("floor      devices of its channels may not skip it on the way up".to_owned());
    }
    if let Some(range) = &facts.downgrade_from {
        let (lo, hi) = (range.lo, range.hi);
        lines.push(format!("downgrade  from counters {lo} to {hi}, until {}", range.expires));
    }
    lines.push(format!("manifest   SHA-256 {}", release.sha256()));
    lines
}

/// That a release which joins the list is not the newest of it.
fn older_line(before: &[SignedRelease], release: &SignedRelease) -> Option<String> {
    let facts = release.facts();
    if before.iter().any(|listed| listed.facts().release == facts.release) {
        return None;
    }
    let newest = before.iter().map(SignedRelease::facts).max_by_key(|listed| listed.counter)?;
    let (name, counter, highest) = (&newest.release, facts.counter, newest.counter);
    let line =
        || format!("older      than {name}, the newest listed: counter {counter} < {highest}");
    (counter < highest).then(line)
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.papers.is_empty() {
            writeln!(f, "nothing is to be signed")?;
        }
        self.papers.iter().try_for_each(|paper| paper.fmt(f))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))?;
        match self.needs.as_slice() {
            [] => Ok(()),
            options => writeln!(f, "this needs {}", options.join(" and ")),
        }
    }
}

impl fmt::Display for Paper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, version, expires, keys, signed, lines } = self;
        let what = format!("{role} version {version}, good until {expires}");
        match (keys.as_slice(), signed.as_slice()) {
            ([], []) => writeln!(f, "Not signed here: {what}:")?,
            ([], signed) => writeln!(f, "Signed by {} already: {what}:", ids(signed))?,
            (keys, []) => writeln!(f, "Signing {what}, with key {}:", ids(keys))?,
            (keys, signed) => {
                writeln!(f, "Signing {what}, with key {}, after {}:", ids(keys), ids(signed))?;
            }
        }
        lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
