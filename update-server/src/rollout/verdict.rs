use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every one.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// Which wish an update follows.
    Reason {
        /// The channel was promoted to it.
        Channel = "channel",
        /// The channel is pinned to it.
        ChannelPin = "channel_pin",
        /// The device is pinned to it.
        DevicePin = "device_pin",
    }
}

words! {
    /// Why a device stays where it is.
    Hold {
        /// It runs what is wanted, or something newer.
        UpToDate = "up_to_date",
        /// There is no such channel, or no default one.
        NoChannel = "no_channel",
        /// An operator paused the channel.
        Paused = "paused",
        /// The device was rolled back from it.
        Held = "held",
        /// It failed its trial on this device.
        FailedBefore = "failed_before",
        /// The signed list does not name it for this channel (any more).
        UnknownRelease = "unknown_release",
        /// The signed facts of the next release do not allow coming from here.
        NoPath = "no_path",
    }
}

/// What a device was told, without the particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Install something.
    Update(Reason),
    /// Stay.
    Stay(Hold),
}

impl Verdict {
    /// Every one.
    pub fn all() -> impl Iterator<Item = Verdict> {
        let updates = Reason::ALL.iter().map(|&r| Verdict::Update(r));
        updates.chain(Hold::ALL.iter().map(|&h| Verdict::Stay(h)))
    }

    /// `action` on the wire.
    pub fn action(self) -> &'static str {
        match self {
            Verdict::Update(_) => "update",
            Verdict::Stay(_) => "none",
        }
    }

    /// `reason` on the wire.
    pub fn reason(self) -> &'static str {
        match self {
            Verdict::Update(reason) => reason.as_str(),
            Verdict::Stay(hold) => hold.as_str(),
        }
    }
}
