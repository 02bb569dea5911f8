use super::*;

/// Files of these paths and lengths.
fn image(files: &[(&str, u64)]) -> Vec<ImageFile> {
    let file = |(path, len): &(&str, u64)| ImageFile {
        path: path.as_bytes().to_vec(),
        len: *len,
        pieces: Vec::new(),
    };
    files.iter().map(file).collect()
}

#[track_caller]
fn check(old: &[(&str, u64)], new: &[(&str, u64)], expected: &[Option<&str>]) {
    let found = pairs(&image(old), &image(new));
    let found: Vec<Option<&str>> = found.iter().map(|pair| pair.map(|at| old[at].0)).collect();
    assert_eq!(found, expected);
}

#[test]
fn versions_are_stripped() {
    let cases = [
        ("lib/modules/6.1.0-50-amd64/kernel/x.ko", "lib/modules/#-amd#/kernel/x.ko"),
        ("libssl.so.1.0.9", "libssl.so.#"),
        ("libssl.so", "libssl.so"),
        ("a-1.2~3+4-b", "a-#-b"),
        ("a1..2", "a#"),
        ("7.", "#."),
        ("1.-b/2-.3.c", "#.-b/#.c"),
        ("1/2", "#/#"),
        ("", ""),
    ];
    for (path, shape) in cases {
        let shape = shape.replace('#', "\0");
        assert_eq!(without_versions(path.as_bytes()), shape.as_bytes(), "{path}");
    }
}

#[test]
fn the_same_path_comes_first() {
    check(
        &[("lib/a.so.1", 10), ("lib/a.so.2", 20), ("a.so.3", 7)],
        &[("lib/a.so.2", 10), ("a.so.3", 20)],
        &[Some("lib/a.so.2"), Some("a.so.3")],
    );
}

#[test]
fn then_the_same_path_but_for_versions() {
    check(
        &[("m/6.1.0-50-amd64/x.ko", 10), ("m/6.1.0-50-amd64/y.ko", 10)],
        &[("m/6.1.0-56-amd64/y.ko", 12), ("m/6.1.0-56-amd64/z.ko", 12)],
        &[Some("m/6.1.0-50-amd64/y.ko"), None],
    );
}

#[test]
fn a_file_that_stays_is_continued_by_itself_only() {
    check(&[("a.so.1", 10)], &[("a.so.1", 10), ("a.so.2", 10)], &[Some("a.so.1"), None]);
    check(
        &[("a.so.1", 10), ("a.so.2", 900)],
        &[("a.so.1", 10), ("a.so.3", 10)],
        &[Some("a.so.1"), Some("a.so.2")],
    );
}

#[test]
fn of_several_versions_the_nearest_length() {
    let old = [("a.1", 10), ("a.2", 20), ("a.3", 30), ("a.4", 30)];
    check(&old, &[("a.5", 22)], &[Some("a.2")]);
    check(&old, &[("a.5", 29)], &[Some("a.3")]);
    // As near: the first path, wherever it lies.
    check(&old, &[("a.5", 25)], &[Some("a.2")]);
    let old: Vec<_> = old.iter().rev().copied().collect();
    check(&old, &[("a.5", 29)], &[Some("a.3")]);
}

#[test]
fn of_several_versions_the_fewest_other_names() {
    check(
        &[("6.1-50/i3000.ko", 10), ("6.1-50/i3200.ko", 20), ("6.1-50/v2/core.ko", 30)],
        &[("6.1-56/i3000.ko", 20), ("6.1-56/i3200.ko", 10), ("6.1-56/v1/core.ko", 30)],
        &[Some("6.1-50/i3000.ko"), Some("6.1-50/i3200.ko"), Some("6.1-50/v2/core.ko")],
    );
    check(
        &[("6.1-50/v1/core.ko", 10), ("6.1-50/v2/core.ko", 20)],
        &[("6.1-56/v1/core.ko", 20), ("6.1-56/v2/core.ko", 10)],
        &[Some("6.1-50/v1/core.ko"), Some("6.1-50/v2/core.ko")],
    );
}

#[test]
fn then_the_same_name_where_it_is_the_only_one() {
    check(&[("bin/a", 10)], &[("usr/bin/a", 10)], &[Some("bin/a")]);
    check(&[("bin/a", 10), ("sbin/a", 10)], &[("usr/bin/a", 10)], &[None]);
    check(&[("bin/a", 10)], &[("usr/bin/a", 10), ("usr/sbin/a", 10)], &[None, None]);
    check(&[], &[("a", 1)], &[None]);
    check(&[("a", 1)], &[], &[]);
}
