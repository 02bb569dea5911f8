//! The whole boot order as documentation, made by running the decision itself.

use std::fmt::Write;

use crate::{Attempt, BootAttributes, BootOrder, Nibble, Reason, SlotState, boot_decision};

/// The boot order as two Markdown tables: what each state is and what becomes of a slot in it,
/// then what is tried, in order, for every pair of states.
///
/// In the second, `*` marks a try that is spent, and written, before the slot starts, and `!` a
/// last resort.
pub fn boot_order_table() -> String {
    states() + "\n" + &pairs()
}

fn states() -> String {
    let mut table = String::from(
        "| state | priority | tries | successful | the selector |\n| --- | --- | --- | --- | --- |\n",
    );
    for state in SlotState::ALL {
        let slots: Vec<BootAttributes> =
            all_slots().into_iter().filter(|slot| slot.state() == state).collect();
        let range = |field: fn(&BootAttributes) -> u8| {
            let values = slots.iter().map(field);
            let (min, max) = values.fold((u8::MAX, 0), |(min, max), v| (min.min(v), max.max(v)));
            if min == max { format!("{min}") } else { format!("{min}-{max}") }
        };
        let _ = writeln!(
            table,
            "| **{state}** | {} | {} | {} | {} |",
            range(|slot| slot.priority().get()),
            range(|slot| slot.tries().get()),
            range(|slot| u8::from(slot.successful())),
            fate(slots[0]),
        );
    }
    table
}

/// What becomes of a slot that is alone on its disk.
fn fate(slot: BootAttributes) -> &'static str {
    match boot_decision(&[slot]).first().map(|attempt| (attempt.reason, attempt.tries_after)) {
        None => "never starts it",
        Some((Reason::LastResortRetired | Reason::LastResortFailed, _)) => {
            "starts it as a last resort (`!`), loudly, and writes nothing"
        }
        Some((_, Some(_))) => "takes one try (`*`), written before the start, and starts it",
        Some((_, None)) => "starts it and writes nothing",
    }
}

fn all_slots() -> Vec<BootAttributes> {
    let nibbles = || (0..=15).filter_map(|value| Nibble::try_from(value).ok());
    let mut slots = Vec::new();
    for priority in nibbles() {
        for tries in nibbles() {
            for successful in [false, true] {
                slots.push(BootAttributes::default().with_boot(priority, tries, successful));
            }
        }
    }
    slots
}

fn pairs() -> String {
    let a_slots = [
        example(SlotState::Trial, 2),
        example(SlotState::Confirmed, 2),
        example(SlotState::Retired, 0),
        example(SlotState::Failed, 2),
        example(SlotState::Empty, 0),
    ];
    let ranked = |state| [1, 2, 3].map(|priority| example(state, priority));
    let mut b_slots = [ranked(SlotState::Trial), ranked(SlotState::Confirmed)].concat();
    b_slots.push(example(SlotState::Retired, 0));
    b_slots.extend(ranked(SlotState::Failed));
    b_slots.push(example(SlotState::Empty, 0));

    let mut table = String::from("|");
    let mut rule = String::from("\n| --- |");
    for a in a_slots {
        let _ = write!(table, " | A {}", title(a));
        rule += " --- |";
    }
    table = table + " |" + &rule + "\n";
    for b in b_slots {
        let _ = write!(table, "| **B {}**", title(b));
        for a in a_slots {
            let _ = write!(table, " | {}", tried(&boot_decision(&[a, b])));
        }
        table += " |\n";
    }
    table
}

fn example(state: SlotState, priority: u8) -> BootAttributes {
    let (tries, successful) = match state {
        SlotState::Trial => (3, false),
        SlotState::Confirmed | SlotState::Retired => (0, true),
        SlotState::Failed | SlotState::Empty => (0, false),
    };
    let nibble = |value| Nibble::try_from(value).unwrap_or(Nibble::MAX);
    BootAttributes::default().with_boot(nibble(priority), nibble(tries), successful)
}

fn title(slot: BootAttributes) -> String {
    match slot.state() {
        state @ (SlotState::Empty | SlotState::Retired) => state.to_string(),
        state => format!("{state}, priority {}", slot.priority()),
    }
}

fn tried(order: &BootOrder) -> String {
    let name = |attempt: &Attempt| {
        let letter = ["A", "B"][attempt.index];
        let mark = match attempt.state {
            SlotState::Trial => "*",
            SlotState::Retired | SlotState::Failed => "!",
            SlotState::Confirmed | SlotState::Empty => "",
        };
        format!("{letter}{mark}")
    };
    let names: Vec<String> = order.attempts.iter().map(name).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const BEGIN: &str = "<!-- boot-order:begin -->\n";
    const END: &str = "<!-- boot-order:end -->";

    /// Every copy of the table in the documentation is the one that the code gives.
    #[test]
    fn documentation_shows_the_boot_order_of_the_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut copies = 0;
        for folder in [root.to_owned(), root.join("docs")] {
            for file in fs_err::read_dir(folder).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_none_or(|extension| extension != "md") {
                    continue;
                }
                let text = fs_err::read_to_string(&path).unwrap();
                let Some((_, rest)) = text.split_once(BEGIN) else { continue };
                let (shown, _) = rest.split_once(END).expect("an end marker");
                let expected = boot_order_table();
                assert_eq!(shown.trim(), expected.trim(), "{}: paste\n{expected}", path.display());
                copies += 1;
            }
        }
        assert!(copies > 0, "no document has the markers {BEGIN} and {END}");
    }
}
