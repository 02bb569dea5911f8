use std::fmt::Write;

use jiff::Timestamp;
use payload_tools::trust::Role;

use super::escape::Text;
use crate::api::admin::ChannelView;
use crate::deltas::{DeltaFigures, RowState};
use crate::expiry::{Expiry, Urgency};
use crate::rollout::{Hold, Verdict};
use crate::store::{DevicePage, DeviceRecord, EventKind, ReleaseRecord, Repository, Standing};

/// Deltas shown: those that most devices want.
const DELTAS_SHOWN_MAX: usize = 50;

/// All that the page shows.
pub struct Overview {
    pub channels: Vec<ChannelView>,
    pub releases: Vec<ReleaseRecord>,
    pub devices: DevicePage,
    pub standing: Vec<Standing>,
    pub deltas: DeltaFigures,
    pub repository: Option<Repository>,
    pub expiries: Vec<Expiry>,
    pub now: Timestamp,
}

/// The page as HTML.
pub fn render(overview: &Overview) -> String {
    let mut page = String::from(HEAD);
    page.push_str(&summary(overview));
    section(&mut page, "Channels", &channels(overview));
    section(&mut page, "Releases", &releases(overview));
    if !overview.deltas.rows.is_empty() {
        section(&mut page, "Deltas", &deltas(&overview.deltas));
    }
    section(&mut page, "Devices", &devices(&overview.devices, overview.now));
    // Writing to a String cannot fail, here and below.
    let _ = write!(page, "<footer>As of {}. Refreshes every 10 seconds.</footer>", overview.now);
    page.push_str("</main></body></html>\n");
    page
}

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"10\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<title>Seesaw</title><link rel=\"stylesheet\" href=\"/console.css\"></head>
<body><header><h1>Seesaw</h1><p>update server</p></header><main>\n";

fn section(page: &mut String, title: &str, content: &str) {
    let _ = writeln!(page, "<section><h2>{title}</h2>{content}</section>");
}

fn summary(overview: &Overview) -> String {
    let devices: u64 = overview.standing.iter().map(|standing| standing.devices).sum();
    let offered = overview.releases.iter().filter(|r| r.withdrawn_at.is_none()).count();
    let paused = overview.channels.iter().filter(|channel| channel.paused).count();
    let mut tiles = String::from("<ul class=\"tiles\">");
    let mut tile = |value: String, what: &str, mood: &str| {
        let value = Text(value);
        let _ = write!(tiles, "<li class=\"{mood}\"><b>{value}</b><span>{what}</span></li>");
    };
    tile(devices.to_string(), "devices", "");
    tile(offered.to_string(), "releases offered", "");
    let mood = if paused > 0 { "warn" } else { "" };
    tile(format!("{}", overview.channels.len()), &format!("channels, {paused} paused"), mood);
    match &overview.repository {
        None => tile("none".into(), "published yet", "warn"),
        Some(repository) => {
            let left = repository.timestamp_expires.as_second() - overview.now.as_second();
            let mood = if left < 24 * 3600 { "bad" } else { "" };
            let what = format!(
                "until the timestamp expires (it renews itself), snapshot {}",
                repository.snapshot_version
            );
            tile(span(left), &what, mood);
            for expiry in &overview.expiries {
                let mood = match expiry.urgency(overview.now) {
                    Urgency::None if expiry.role == Role::Snapshot => "",
                    Urgency::None => continue,
                    Urgency::Soon => "warn",
                    Urgency::Over => "bad",
                };
                let what = format!("until {} expires: {}", expiry.role, expiry.remedy());
                tile(span(expiry.seconds_left(overview.now)), &what, mood);
            }
        }
    }
    tiles + "</ul>"
}

fn channels(overview: &Overview) -> String {
    if overview.channels.is_empty() {
        let hint = "<code>update-server channel create COMPATIBLE CHANNEL RELEASE</code>";
        return empty("No channel yet", hint);
    }
    let mut table = Table::new(&["Compatible", "Channel", "Release", "State"]);
    for channel in &overview.channels {
        let mut state = match (channel.trouble(), channel.paused) {
            (Some(trouble), _) => chip("bad", &trouble),
            (None, true) => String::new(),
            (None, false) => chip("good", "offered"),
        };
        if channel.paused {
            state += &chip("warn", "paused");
        }
        if let Some(pin) = &channel.pin {
            state += &chip("info", &format!("pinned to {pin}"));
        }
        if channel.default {
            state += &chip("", "default");
        }
        table.row(&[
            text(&channel.compatible),
            format!("<b>{}</b>", Text(&channel.channel)),
            text(&channel.release),
            state,
        ]);
    }
    table.finish()
}

fn releases(overview: &Overview) -> String {
    if overview.releases.is_empty() {
        return empty("No release yet", "<code>payload publish</code>");
    }
    let heads = ["Compatible", "Release", "Counter", "Signed for", "Devices", "Published", "State"];
    let mut table = Table::new(&heads);
    for record in &overview.releases {
        let facts = &record.facts;
        let running = overview.standing.iter().find(|standing| {
            standing.compatible.as_ref() == Some(&facts.compatible)
                && standing.release.as_ref() == Some(&facts.release)
        });
        let channels: Vec<_> = facts.channels.iter().map(|channel| channel.as_str()).collect();
        let mut state = match record.withdrawn_at {
            Some(_) => chip("warn", "withdrawn"),
            None => chip("good", "offered"),
        };
        if facts.floor {
            state += &chip("info", "floor");
        }
        table.row(&[
            text(&facts.compatible),
            format!("<b>{}</b>", Text(&facts.release)),
            text(facts.counter),
            text(channels.join(", ")),
            text(running.map_or(0, |standing| standing.devices)),
            ago(record.published_at, overview.now),
            state,
        ]);
    }
    table.finish()
}

fn deltas(figures: &DeltaFigures) -> String {
    let heads = ["Compatible", "From", "To", "Image", "Devices", "Size", "Full payload", "State"];
    let mut table = Table::new(&heads);
    for row in figures.rows.iter().take(DELTAS_SHOWN_MAX) {
        let mood = match row.state {
            RowState::Made(_) | RowState::Uploaded(_) => "good",
            RowState::Making | RowState::Waiting => "info",
            RowState::Unkept(_) | RowState::Failed(_) => "warn",
            RowState::NotWorth => "",
        };
        let mut state = chip(mood, row.state.words());
        if row.state == RowState::Waiting && figures.no_room {
            state += &chip("warn", "the disk has no room");
        }
        table.row(&[
            text(&row.between.compatible),
            text(&row.between.from),
            format!("<b>{}</b>", Text(&row.between.to)),
            text(row.role),
            text(row.devices),
            row.state.bytes().map_or_else(dash, |bytes| text(mib(bytes))),
            text(mib(row.full_bytes)),
            state,
        ]);
    }
    let (wanted, kept) = (figures.rows.len(), mib(figures.kept_bytes));
    let shown = format!("<p class=\"shown\">{wanted} wanted; {kept} of deltas made here.</p>");
    table.finish() + &shown
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn devices(page: &DevicePage, now: Timestamp) -> String {
    if page.devices.is_empty() {
        return empty("No device has asked yet", "A device appears with its first poll.");
    }
    let heads =
        ["Device", "Channel", "Release", "Slot", "Last event", "Reason", "Answer", "Last seen"];
    let mut table = Table::new(&heads);
    for device in &page.devices {
        let check = device.check.as_ref();
        let release = check.and_then(|check| check.release.as_ref());
        let (event, reason) = last_event(device);
        let mut answer = check.map_or_else(dash, |check| {
            let mood = verdict_mood(check.verdict);
            let detail = Text(&check.detail);
            let reason = check.verdict.reason().replace('_', " ");
            format!("{}<small>{detail}</small>", chip(mood, &reason))
        });
        if let Some(pin) = &device.pin {
            answer += &chip("info", &format!("pinned to {pin}"));
        }
        table.row(&[
            format!(
                "<code>{}</code><small>{}</small>",
                Text(&device.device),
                Text(&device.compatible)
            ),
            check.and_then(|check| check.channel.as_ref()).map_or_else(dash, text),
            release.map_or_else(dash, |release| format!("<b>{}</b>", Text(release))),
            check.map_or_else(dash, |check| text(check.slot.as_str())),
            event,
            reason,
            answer,
            ago(device.last_seen, now),
        ]);
    }
    table.finish() + &shown(page)
}

fn shown(page: &DevicePage) -> String {
    let (shown, total) = (page.devices.len(), page.total);
    let next = page.next.as_ref().map(|cursor| format!("<a href=\"/?before={cursor}\">older</a>"));
    format!(
        "<p class=\"shown\">{shown} of {total} shown, those seen last first. {}</p>",
        next.unwrap_or_default()
    )
}

fn last_event(device: &DeviceRecord) -> (String, String) {
    let Some(event) = &device.event else { return (dash(), dash()) };
    let word = event.kind.as_str().replace('_', " ");
    let mut what = chip(event_mood(EventKind::of(&event.kind)), &word);
    if let Some(release) = &event.release {
        let _ = write!(what, "<span>{}</span>", Text(release));
    }
    let reason = event
        .reason
        .as_ref()
        .map_or_else(dash, |reason| format!("<span class=\"reason\">{}</span>", Text(reason)));
    (format!("<span class=\"line\">{what}</span>"), reason)
}

fn event_mood(kind: Option<EventKind>) -> &'static str {
    let Some(kind) = kind else { return "" };
    match kind {
        EventKind::Confirmed => "good",
        EventKind::HealthFailed | EventKind::Fallback | EventKind::InstallFailed => "bad",
        EventKind::RolledBack | EventKind::Held | EventKind::Pinned => "warn",
        EventKind::DownloadStarted
        | EventKind::Progress
        | EventKind::Staged
        | EventKind::Activated
        | EventKind::TrialStarted => "info",
        EventKind::Seen | EventKind::Check | EventKind::Unpinned => "",
    }
}

fn verdict_mood(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Update(_) => "info",
        Verdict::Stay(Hold::UpToDate) => "good",
        Verdict::Stay(Hold::FailedBefore | Hold::NoPath | Hold::UnknownRelease) => "bad",
        Verdict::Stay(Hold::NoChannel | Hold::Paused | Hold::Held) => "warn",
    }
}

fn chip(mood: &str, word: &str) -> String {
    format!("<span class=\"chip {mood}\">{}</span>", Text(word))
}

fn text(value: impl std::fmt::Display) -> String {
    Text(value).to_string()
}

fn dash() -> String {
    "<span class=\"none\">–</span>".to_owned()
}

fn empty(what: &str, hint: &str) -> String {
    format!("<p class=\"empty\">{what}. {hint}</p>")
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    let ago = span(now.as_second() - then.as_second());
    format!("<time datetime=\"{then}\" title=\"{then}\">{ago} ago</time>")
}

/// A length of time in its two largest units at most.
fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

struct Table(String);

impl Table {
    fn new(heads: &[&str]) -> Self {
        let heads: String = heads.iter().map(|head| format!("<th>{head}</th>")).collect();
        Self(format!("<div class=\"wide\"><table><thead><tr>{heads}</tr></thead><tbody>"))
    }

    fn row(&mut self, cells: &[String]) {
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        let _ = writeln!(self.0, "<tr>{cells}</tr>");
    }

    fn finish(self) -> String {
        self.0 + "</tbody></table></div>"
    }
}

#[cfg(test)]
mod tests {
    use payload_tools::format::Role;

    use super::*;
    use crate::deltas::DeltaRow;
    use crate::deltas::wanted::Between;

    #[test]
    fn each_delta_says_what_became_of_it() {
        let row = |to: &str, state| DeltaRow {
            between: Between {
                compatible: "demo".parse().unwrap(),
                from: "1".parse().unwrap(),
                to: to.parse().unwrap(),
            },
            role: Role::Root,
            devices: 7,
            state,
            full_bytes: 10 << 20,
        };
        let rows = vec![row("2", RowState::Made(1 << 19)), row("3", RowState::Waiting)];
        let page = deltas(&DeltaFigures { rows, kept_bytes: 3 << 20, no_room: true });
        for said in [
            "<td>0.5 MiB</td><td>10.0 MiB</td><td><span class=\"chip good\">made here</span></td>",
            "waits to be made</span><span class=\"chip warn\">the disk has no room</span>",
            "2 wanted; 3.0 MiB of deltas made here.",
        ] {
            assert!(page.contains(said), "{said}\n{page}");
        }
    }

    #[test]
    fn spans_are_short() {
        for (seconds, text) in
            [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (3_660, "1 h 1 min"), (172_799, "1 d 23 h")]
        {
            assert_eq!(span(seconds), text);
        }
    }
}
