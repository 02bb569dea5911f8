//! Tests of whole stages, and the way in for the children that they start.

mod crash;
mod deltas;
pub(crate) mod fixture;
mod hostile;
pub(crate) mod loop_device;
mod media;
pub(crate) mod server;

/// Runs before the test harness, so that `/proc/self/exe` is a decoder for the
/// tests as it is for the programs.
#[used]
#[expect(unsafe_code, reason = "nothing safe runs before the test harness")]
// SAFETY: the section holds pointers to functions of this type, which the C
// library calls before main; std has its arguments by then (its own entry in
// this section sorts first), and nothing else of std is set up later on Linux.
#[unsafe(link_section = ".init_array")]
static BECOME_CHILD: extern "C" fn() = become_child;

extern "C" fn become_child() {
    // Before the programs' own: these decoders can be taken over.
    payload_tools::confined::hostile::enter_if_asked();
    payload_tools::confined::enter_if_asked();
}
