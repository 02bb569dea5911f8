//! From a release folder to what a device believes: `payload` and `update-server` as programs, and
//! two readers, python-tuf's client and ours.

mod at_once;
mod attempts;
mod damaged;
mod keys_page;
mod python_tuf;
mod rotated;
mod served;
mod soak;
mod taken_back;
mod token;
