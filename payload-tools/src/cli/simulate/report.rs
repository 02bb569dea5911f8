//! What a simulation says: words, JSON, a picture.

use std::fmt;

use serde::Serialize;

use crate::cli::delta::share;
use crate::format::Role;
use crate::simulate::{Bar, Bits, Group, Size, Time, Way, WayCosts, chart};

/// An update that was simulated.
pub(super) struct Update {
    pub from: String,
    pub to: String,
    /// How many take it, where somebody said so.
    pub devices: Option<u64>,
    pub images: Vec<ImageCosts>,
}

/// What an image of it costs a device.
pub(super) struct ImageCosts {
    /// `None`: it was named alone.
    pub role: Option<Role>,
    pub size: u64,
    pub costs: WayCosts,
}

#[derive(Debug, Serialize)]
pub(super) struct SimulateReport {
    rate_mbit: Option<Bits>,
    uplink_mbit: Option<Bits>,
    updates: Vec<UpdateReport>,
    /// Of all updates, where there are several.
    total: Option<Vec<WayReport>>,
}

#[derive(Debug, Serialize)]
struct UpdateReport {
    from: String,
    to: String,
    devices: Option<u64>,
    images: Vec<ImageReport>,
    ways: Vec<WayReport>,
}

#[derive(Debug, Serialize)]
struct ImageReport {
    role: Option<Role>,
    size: u64,
    ways: Vec<WayReport>,
}

#[derive(Debug, Clone, Serialize)]
struct WayReport {
    way: Way,
    /// Of one device; `None`: no device takes all these updates.
    device_bytes: Option<u64>,
    device_seconds: Option<Time>,
    fleet_bytes: Option<u128>,
    fleet_seconds: Option<Time>,
}

/// The links that bytes travel on.
#[derive(Clone, Copy)]
struct Links {
    rate: Option<Bits>,
    uplink: Option<Bits>,
}

impl Links {
    fn way(&self, way: Way, device: Option<u64>, fleet: Option<u128>) -> WayReport {
        let device_seconds = self.rate.zip(device).map(|(rate, bytes)| rate.time(bytes.into()));
        let fleet_seconds = self.uplink.zip(fleet).map(|(rate, bytes)| rate.time(bytes));
        WayReport { way, device_bytes: device, device_seconds, fleet_bytes: fleet, fleet_seconds }
    }

    fn ways(&self, costs: &WayCosts, devices: Option<u64>) -> Vec<WayReport> {
        let way = |way| {
            let bytes = costs.of(way);
            let fleet = devices.map(|devices| u128::from(bytes) * u128::from(devices));
            self.way(way, Some(bytes), fleet)
        };
        Way::ALL.map(way).into()
    }

    fn update(&self, update: Update) -> UpdateReport {
        let Update { from, to, devices, images } = update;
        let sum = images.iter().fold(WayCosts::default(), |sum, image| sum + image.costs);
        let image = |image: ImageCosts| ImageReport {
            role: image.role,
            size: image.size,
            ways: self.ways(&image.costs, devices),
        };
        let images = images.into_iter().map(image).collect();
        UpdateReport { from, to, devices, images, ways: self.ways(&sum, devices) }
    }

    /// Of all updates, which a device takes one after another, or of which it takes one.
    fn total(&self, updates: &[UpdateReport], is_chain: bool) -> Vec<WayReport> {
        let of_way = |index: usize| updates.iter().filter_map(move |update| update.ways.get(index));
        let sum = |(index, way): (usize, Way)| {
            let device = of_way(index).filter_map(|way| way.device_bytes).sum();
            let fleet: Option<u128> = of_way(index).map(|way| way.fleet_bytes).sum();
            self.way(way, is_chain.then_some(device), fleet)
        };
        Way::ALL.into_iter().enumerate().map(sum).collect()
    }
}

impl SimulateReport {
    pub fn new(
        updates: Vec<Update>,
        to_last: bool,
        rate: Option<Bits>,
        uplink: Option<Bits>,
    ) -> Self {
        let links = Links { rate, uplink };
        let updates: Vec<_> = updates.into_iter().map(|update| links.update(update)).collect();
        let says_something = !to_last || updates.iter().all(|update| update.devices.is_some());
        let total = (updates.len() > 1 && says_something).then(|| links.total(&updates, !to_last));
        Self { rate_mbit: rate, uplink_mbit: uplink, updates, total }
    }

    /// The bar chart.
    pub fn picture(&self) -> String {
        let titled = self.updates.iter().map(|update| (update.title(), &update.ways));
        // What a fleet fetches is no bar among what devices do.
        let total =
            self.total.iter().filter(|ways| ways.iter().all(|way| way.device_bytes.is_some()));
        let total = total.map(|ways| ("All of these updates".to_owned(), ways));
        let groups: Vec<_> = titled
            .chain(total)
            .map(|(title, ways)| Group { title, bars: ways.iter().map(WayReport::bar).collect() })
            .collect();
        let mut subtitle = "Bytes that it fetches, way by way".to_owned();
        if let Some(rate) = self.rate_mbit {
            subtitle += &format!(", and how long that takes at {rate}");
        }
        chart("What an update costs a device", &subtitle, &groups)
    }
}

impl UpdateReport {
    fn title(&self) -> String {
        let size: u64 = self.images.iter().map(|image| image.size).sum();
        let what = if self.images.len() == 1 { "an image" } else { "images" };
        let mut title = format!("{} to {}: {what} of {}", self.from, self.to, Size(size.into()));
        if let Some(devices) = self.devices {
            title += &format!(", {devices} devices");
        }
        title
    }
}

impl WayReport {
    fn bar(&self) -> Bar {
        let bytes = self.device_bytes.unwrap_or(0);
        let mut note = Size(bytes.into()).to_string();
        if let Some(time) = self.device_seconds {
            note += &format!(", {time}");
        }
        if let Some(fleet) = self.fleet_bytes {
            note += &format!("; fleet {}", Size(fleet));
        }
        let colour = match self.way {
            Way::Full => "#8796a5",
            Way::BlockHashes => "#c9a86a",
            Way::Booted => "#7fb0d8",
            Way::Delta => "#3f7fb5",
            Way::Cheapest => "#1f8a70",
        };
        Bar { label: self.way.in_words().to_owned(), amount: bytes as f64, note, colour }
    }
}

impl fmt::Display for SimulateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for update in &self.updates {
            writeln!(f, "{}", update.title())?;
            self.write_ways(f, &update.ways)?;
        }
        if let Some(total) = &self.total {
            writeln!(f, "all of these updates")?;
            self.write_ways(f, total)?;
        }
        Ok(())
    }
}

impl SimulateReport {
    fn write_ways(&self, f: &mut fmt::Formatter<'_>, ways: &[WayReport]) -> fmt::Result {
        let full = ways.iter().find(|way| way.way == Way::Full);
        let full =
            full.map_or(0, |way| way.fleet_bytes.unwrap_or(way.device_bytes.unwrap_or(0).into()));
        let mut head = vec!["".to_owned()];
        let mut rows = vec![];
        for way in ways {
            let mut row = vec![way.way.in_words().to_owned()];
            let mut add = |title: String, cell: Option<String>| {
                if let Some(cell) = cell {
                    if rows.is_empty() {
                        head.push(title);
                    }
                    row.push(cell);
                }
            };
            let all = way.fleet_bytes.unwrap_or(way.device_bytes.unwrap_or(0).into());
            add("bytes a device".to_owned(), way.device_bytes.map(|bytes| bytes.to_string()));
            add("of full".to_owned(), Some(share(all, full)));
            let rate = self.rate_mbit.map_or(String::new(), |rate| format!("at {rate}"));
            add(rate, way.device_seconds.map(|time| time.to_string()));
            add("the fleet".to_owned(), way.fleet_bytes.map(|bytes| Size(bytes).to_string()));
            let uplink = self.uplink_mbit.map_or(String::new(), |rate| format!("through {rate}"));
            add(uplink, way.fleet_seconds.map(|time| time.to_string()));
            rows.push(row);
        }
        rows.insert(0, head);
        write_table(f, &rows)
    }
}

/// The first column left, the others right, as wide as their widest cell.
fn write_table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(move |row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(f, "  {cell:<width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}
