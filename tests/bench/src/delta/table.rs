//! The figures as a person reads them.

use super::pair::{Change, Pair};
use crate::tables::{MIB, cell, table as markdown};
use crate::{BenchError, Figures};

/// All tables of this part, of the pairs that were measured.
pub(crate) fn table(figures: &Figures) -> Result<String, BenchError> {
    let mut text = deltas(figures)?;
    for pair in Pair::ALL.into_iter().filter(|pair| figures.has(&pair.key("bytes"))) {
        if let Some(apply) = pair.apply_key() {
            text += &costs(figures, pair, apply)?;
        }
    }
    if figures.has("full.ratio_zstd19") {
        text += &full(figures)?;
    }
    let major = Pair::ALL.into_iter().filter(|pair| pair.change == Change::Major);
    for pair in major.filter(|pair| figures.has(&pair.key("bytes"))) {
        text += &format!(
            "\n{}: {} of {} packages changed; {:.2} MiB, **{:.3}** of the full payload.\n",
            pair.name(),
            figures.number(&pair.key("packages_changed"))?,
            figures.number(&pair.key("packages"))?,
            figures.number(&pair.key("bytes"))? / MIB,
            figures.number(&pair.key("ratio_full"))?,
        );
    }
    Ok(text)
}

fn deltas(figures: &Figures) -> Result<String, BenchError> {
    let head =
        ["pair", "packages changed", "image", "seesaw", "zstd", "ratio", "HDiffPatch", "ratio"];
    let mut rows = vec![head.map(str::to_owned)];
    let updates = Pair::ALL.into_iter().filter(|pair| pair.change != Change::Major);
    for pair in updates.filter(|pair| figures.has(&pair.key("bytes"))) {
        let number = |name: &str| figures.number(&pair.key(name));
        let mib = |name: &str| Ok::<_, BenchError>(format!("{:.2}", number(name)? / MIB));
        let ratio = |name: &str| Ok::<_, BenchError>(format!("**{:.3}**", number(name)?));
        rows.push([
            pair.name().to_owned(),
            format!("{} of {}", number("packages_changed")?, number("packages")?),
            format!("{:.0}", number("image_bytes")? / MIB),
            mib("bytes")?,
            mib("zstd_patch_from.bytes")?,
            ratio("ratio_zstd_patch_from")?,
            mib("hdiffpatch.bytes")?,
            ratio("ratio_hdiffpatch")?,
        ]);
    }
    Ok(format!(
        "Deltas in MiB, smaller is better; `zstd -19 --long=31 --patch-from` ({}) and HDiffPatch with \
         LZMA2\nat level 9 ({}).\n\n{}",
        figures.text("delta.zstd_patch_from.tool")?,
        figures.text("delta.hdiffpatch.tool")?,
        markdown(&rows),
    ))
}

/// What it takes to make and to install the delta of a pair.
fn costs(figures: &Figures, pair: Pair, apply: &str) -> Result<String, BenchError> {
    let number = |key: &str| figures.number(key);
    let mut rows = vec![["", "processor, s", "memory peak, MiB"].map(str::to_owned)];
    for (name, key) in
        [("seesaw", "make"), ("zstd --patch-from", "zstd_patch_from"), ("HDiffPatch", "hdiffpatch")]
    {
        let cpu = number(&pair.key(&format!("{key}.cpu_seconds")))?;
        let memory = number(&pair.key(&format!("{key}.memory_peak_bytes")))? / MIB;
        rows.push([name.to_owned(), format!("{cpu:.0}"), format!("{memory:.0}")]);
    }
    let mut installs = vec![
        ["", "wall, s", "processor, s", "memory peak, MiB", "fetched, MiB"].map(str::to_owned),
    ];
    for (name, who) in
        [("from the delta", apply.to_owned()), ("in full", format!("{apply}.full_install"))]
    {
        let spread = |key: &str, unit: f64| {
            Ok::<_, BenchError>(cell(figures.spread(&format!("{who}.{key}"))?.scaled(1.0 / unit)))
        };
        installs.push([
            name.to_owned(),
            spread("wall_seconds", 1.0)?,
            spread("cpu_seconds", 1.0)?,
            spread("memory_peak_bytes", MIB)?,
            spread("wire_bytes", MIB)?,
        ]);
    }
    Ok(format!(
        "\nMaking the delta of {}:\n\n{}\nInstalling it, {} rounds by turns; median (least - most):\n\n{}\n\
         Time, delta / full: **{}**.\n",
        pair.name(),
        markdown(&rows),
        number(&format!("{apply}.rounds"))?,
        markdown(&installs),
        cell(figures.spread(&format!("{apply}.ratio_full_install"))?),
    ))
}

/// What our frames cost.
fn full(figures: &Figures) -> Result<String, BenchError> {
    let number = |key: &str| figures.number(key);
    Ok(format!(
        "\nThe full payload of {} has {:.2} MiB, in frames of 4 MiB that are fetched one by one;\n\
         `zstd -19` makes {:.2} MiB of it in one: **{:.3}**.\n",
        Pair::FIRST.name(),
        number("full.bytes")? / MIB,
        number("full.zstd19.bytes")? / MIB,
        number("full.ratio_zstd19")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::outcome;
    use super::*;

    fn figures(names: &[&str]) -> Figures {
        let mut figures = Figures::default();
        figures.set("delta.zstd_patch_from.tool", "zstd 1.5.4");
        figures.set("delta.hdiffpatch.tool", "hdiffpatch 2.6.0");
        for name in names {
            outcome(Pair::named(name).unwrap()).add_to(&mut figures);
        }
        figures
    }

    #[test]
    fn pairs_that_were_not_measured_are_left_out() {
        let text = table(&figures(&["no_kernel.ext4", "major.ext4"])).unwrap();
        assert!(text.contains("| no_kernel.ext4 | 40 of 350 "), "{text}");
        assert!(text.contains("| **0.750** |") && text.contains("| **1.500** |"), "{text}");
        assert!(text.contains("**0.025** of the full payload"), "{text}");
        assert!(!text.contains("kernel.squashfs") && !text.contains("Making"), "{text}");
    }

    #[test]
    fn a_pair_measured_by_half_is_refused() {
        let error = table(&figures(&["kernel.ext4"])).unwrap_err();
        assert!(error.to_string().contains("apply."), "{error}");
    }
}
