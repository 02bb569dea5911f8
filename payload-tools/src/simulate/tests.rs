use super::*;
use crate::delta::{DeltaImage, DeltaPlan, make};
use crate::format::seekable::{FrameEncoder, segment_count};
use crate::format::{BLOCK, SEGMENT, Salt};
use crate::testing::noise;
use std::os::unix::fs::FileExt as _;

fn two() -> NonZero<usize> {
    NonZero::new(2).unwrap()
}

fn encoding() -> Encoding {
    Encoding { level: 3, salt: Salt::default(), threads: two() }
}

fn offer(image: &[u8]) -> Offer {
    Offer::of_image((&image, image.len() as u64), &encoding(), &|_| ()).unwrap()
}

fn costs(offer: &Offer, old: &[u8], delta: Option<&Head>) -> Costs {
    offer.costs((&old, old.len() as u64), delta, two(), &|_| ()).unwrap()
}

fn head(old: &[u8], new: &[u8]) -> Head {
    let image =
        |bytes: &[u8]| DeltaImage { root: offer(bytes).image.root, size: bytes.len() as u64 };
    let plan = DeltaPlan { old: image(old), new: image(new), level: 3, threads: two() };
    let file = tempfile::tempfile().unwrap();
    let tally = make(&plan, (&old, &new), &file, &|_| ()).unwrap();
    let mut head = vec![0; head_len(new.len() as u64) as usize];
    file.read_exact_at(&mut head, 0).unwrap();
    Head::parse(&head, tally.size).unwrap()
}

/// Bytes of the frames of these segments.
fn frames(image: &[u8], segments: &[usize]) -> u64 {
    let mut encoder = FrameEncoder::new(3).unwrap();
    let mut frame = |at: &usize| {
        let segment = &image[at * SEGMENT..image.len().min((at + 1) * SEGMENT)];
        encoder.encode(segment).unwrap().len() as u64
    };
    segments.iter().map(&mut frame).sum()
}

/// Tree and seek table.
fn index(image: &[u8]) -> u64 {
    let size = image.len() as u64;
    let levels = (size / GROUP as u64).div_ceil(128) * 4096;
    levels + 17 + 8 * segment_count(size)
}

/// Zeroes, what the old image has at the same place, what it has elsewhere, and a last group.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let (same, moved) = (noise(1, SEGMENT), noise(2, SEGMENT));
    let zeroes = vec![0; SEGMENT];
    let old = [&moved[..], &same, &zeroes, &zeroes[..GROUP]].concat();
    let new = [&zeroes[..], &same, &moved, &noise(3, GROUP)].concat();
    (old, new)
}

#[test]
fn each_way_costs_what_it_fetches() {
    let (old, new) = pair();
    let (offer, head) = (offer(&new), head(&old, &new));
    let bodies = |segments: &[u64]| -> u64 {
        let body = |at: &u64| head.part(*at).unwrap().body;
        segments.iter().map(body).map(|body| body.end - body.start).sum()
    };
    let found = costs(&offer, &old, Some(&head));
    let (index, of_head) = (index(&new), head_len(new.len() as u64));
    assert_eq!(found.full, index + frames(&new, &[1, 2, 3]));
    assert_eq!(found.target, found.full, "nothing is in the target");
    assert_eq!(found.booted, index + frames(&new, &[2, 3]));
    let last = frames(&new, &[3]).min(bodies(&[3]));
    assert_eq!(found.delta, Some(index + of_head + bodies(&[1, 2]) + last));
    assert_eq!(found.cheapest, index + of_head + bodies(&[2]) + last);
    let without = costs(&offer, &old, None);
    assert_eq!((without.delta, without.cheapest), (None, found.booted));
    let same = costs(&offer, &new, None);
    assert_eq!(same.cheapest, index);
}

/// What a device cannot have is not counted on: bytes behind the old image, the head of a kernel.
#[test]
fn nothing_is_counted_on_that_no_device_has() {
    let image = noise(1, SEGMENT + GROUP);
    let mut offer = offer(&image);
    let booted = |offer: &Offer, old: &[u8]| costs(offer, old, None).booted - index(&image);
    let cut = &image[..image.len() - BLOCK];
    assert_eq!(booted(&offer, cut), frames(&image, &[1]));
    let longer = [&image[..], &noise(2, BLOCK)].concat();
    assert_eq!(booted(&offer, &longer), 0);
    offer.image.role = Role::Kernel;
    assert_eq!(booted(&offer, &image), frames(&image, &[0]));
}

#[test]
fn an_image_is_offered_as_a_release_with_it_would_be() {
    let mut image = noise(1, SEGMENT + BLOCK + 5);
    let padded = [&image[..], &vec![0; BLOCK - 5]].concat();
    let offer = offer(&image);
    assert_eq!(offer.image.size, padded.len() as u64);
    assert_eq!(offer.table.frames_len(), frames(&padded, &[0, 1]));
    image.clear();
    let empty = Offer::of_image((&image, 0), &encoding(), &|_| ()).unwrap_err();
    assert!(matches!(empty, SimulateError::Encode(EncodeError::Shape(_))), "{empty:?}");
    let huge = Offer::of_image((&image, u64::MAX), &encoding(), &|_| ()).unwrap_err();
    assert!(matches!(huge, SimulateError::Encode(EncodeError::Shape(_))), "{huge:?}");
}
