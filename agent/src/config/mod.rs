//! Configuration in three steps: `fragments` are what files may say, their
//! merge is what they say together, `Settings` is what the agent relies on.

mod fragments;
mod settings;
mod values;

pub use fragments::{ConfigError, Folders, Fragment};
pub use settings::{HealthSettings, Settings, StateFolder};
pub use values::{
    Budget, Check, Day, DownloadSettings, HookSettings, Priority, Save, Seconds, ServerUrl,
    Strategy, TimeOfDay, Window,
};
