/// What is kept at most: devices are not authenticated, so anyone may invent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Devices, those with a pin included.
    pub devices: u32,
}

impl Room {
    /// Devices, where nobody says otherwise.
    pub const DEVICES_DEFAULT: u32 = 100_000;

    /// Events of all devices together: the history of a few updates of each.
    pub fn events(self) -> u64 {
        20 * u64::from(self.devices)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self { devices: Self::DEVICES_DEFAULT }
    }
}
