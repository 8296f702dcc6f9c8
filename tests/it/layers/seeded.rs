//! Circles that the checker has to find, and things that are none.

use std::collections::BTreeMap;

use crate::layers::{circles::circles, house::House};

/// The circles of a crate with these files, each as `folder: entries`.
#[track_caller]
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let house = House::new(&|file| files.get(file).map(|text| (*text).to_owned()));
    let entries = |entries: &std::collections::BTreeSet<String>| entries.iter().cloned().collect::<Vec<_>>().join(" ");
    circles(&house.edges("lap"))
        .iter()
        .map(|circle| format!("{}: {}", circle.folder, entries(&circle.entries)))
        .collect()
}

const LIB: &str = "mod a; mod b;";

#[test]
fn a_circle_of_two_files_is_found_and_told() {
    let files = [
        ("lib.rs", LIB),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::a::{self, A}; pub struct B;"),
    ];
    assert_eq!(found(&files), [": a.rs b.rs"]);

    let files: BTreeMap<&str, &str> = files.into_iter().collect();
    let house = House::new(&|file| files.get(file).map(|text| (*text).to_owned()));
    let told = circles(&house.edges("lap"))[0].to_string();
    assert!(told.contains("a.rs -> b.rs: crate::b::B"), "{told}");
    assert!(told.contains("b.rs -> a.rs: crate::a::A"), "{told}");
}

#[test]
fn one_direction_is_no_circle() {
    assert!(
        found(&[("lib.rs", LIB), ("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", "pub struct B;")]).is_empty()
    );
}

#[test]
fn a_circle_through_super_is_found() {
    let files = [
        ("lib.rs", "mod x;"),
        ("x/mod.rs", "mod a; mod b;"),
        ("x/a.rs", "use super::b::f; pub fn g() { f() }"),
        ("x/b.rs", "pub fn f() { super::a::g() }"),
    ];
    assert_eq!(found(&files), ["x/: a.rs b.rs"]);
}

#[test]
fn a_folder_and_its_own_face_may_not_need_each_other() {
    let files = [
        ("lib.rs", "mod x;"),
        ("x/mod.rs", "mod a; pub use a::g; pub struct Of;"),
        ("x/a.rs", "use super::Of; pub fn g(_: Of) {}"),
    ];
    assert_eq!(found(&files), ["x/: a.rs mod.rs"]);
    // … also where the face stands beside the folder.
    let files = [
        ("lib.rs", "mod x;"),
        ("x.rs", "mod a; pub use a::g; pub struct Of;"),
        ("x/a.rs", "use super::Of; pub fn g(_: Of) {}"),
    ];
    assert_eq!(found(&files), [": x.rs x/"]);
}

#[test]
fn a_circle_through_a_re_export_is_found() {
    let files = [
        ("lib.rs", "mod face; mod a; mod b;"),
        ("face.rs", "pub use crate::b::B as Renamed;"),
        ("a.rs", "use crate::face::Renamed; pub struct A(Renamed);"),
        ("b.rs", "use crate::a::A; pub struct B(A);"),
    ];
    assert_eq!(found(&files), [": a.rs b.rs face.rs"]);
    // A `*` hands on, too; here by two steps.
    let files = [
        ("lib.rs", "mod face; mod a; mod b;"),
        ("face.rs", "mod inner { pub use crate::b::*; } pub use inner::*;"),
        ("a.rs", "use crate::face; pub struct A(face::B);"),
        ("b.rs", "use crate::a::A; pub struct B(A);"),
    ];
    assert_eq!(found(&files), [": a.rs b.rs face.rs"]);
}

#[test]
fn a_circle_through_a_star_is_found() {
    let files = [
        ("lib.rs", LIB),
        ("a.rs", "use crate::b::*; pub fn a() { helper() }"),
        ("b.rs", "pub fn helper() { crate::a::a() }"),
    ];
    assert_eq!(found(&files), [": a.rs b.rs"]);
}

#[test]
fn a_circle_through_a_path_in_code_is_found() {
    for code in [
        "pub fn a() { crate::b::b() }",
        "pub fn a() { let _ = 1..crate::b::LAST; }",
        "use crate::b as other; pub fn a() { other::b() }",
        "pub fn a() { println!(\"{}\", crate::b::b()) }",
        "#[derive(Serialize)] pub struct A { #[serde(with = \"crate::b::hex\")] x: u8 }",
        "impl crate::b::T for u8 {}",
        "#[cfg(not(test))] use crate::b::b;",
        "#[crate::b::traced] pub fn a() {}",
    ] {
        let b = "pub fn b() { let _ = crate::a::a; } pub trait T {} pub const LAST: u8 = 1; pub mod hex {} pub fn traced() {}";
        assert_eq!(found(&[("lib.rs", LIB), ("a.rs", code), ("b.rs", b)]), [": a.rs b.rs"], "{code}");
    }
}

#[test]
fn a_circle_across_folders_is_found_where_they_are_entries() {
    let files = [
        ("lib.rs", "mod x;"),
        ("x/mod.rs", "mod one; mod two;"),
        ("x/one/mod.rs", "mod a; mod b;"),
        ("x/one/a.rs", "use crate::x::two::Two; pub struct A(Two);"),
        ("x/one/b.rs", "pub struct B;"),
        ("x/two/mod.rs", "use super::one::b::B; pub struct Two(B);"),
    ];
    assert_eq!(found(&files), ["x/: one/ two/"]);
}

#[test]
fn a_circle_of_three_is_one() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "pub fn f() { crate::b::f() }"),
        ("b.rs", "pub fn f() { crate::c::f() }"),
        ("c.rs", "pub fn f() { crate::a::f() }"),
    ];
    assert_eq!(found(&files), [": a.rs b.rs c.rs"]);
}

#[test]
fn what_does_not_run_does_not_count() {
    for code in [
        "// use crate::b::B;\npub struct A;",
        "/* use crate::b::B; /* crate::b::B */ */ pub struct A;",
        "pub const A: &str = \"crate::b::B\";",
        "pub const A: &str = r#\"\" crate::b::B \"#;",
        "pub fn a() -> char { '\"' } pub fn b<'a>(_: &'a str) {}",
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "#[cfg(test)]\n#[path = \"a_tests.rs\"]\nmod tests;",
        "#[cfg(test)] use crate::b::{B, C}; pub struct A;",
        "#[cfg(test)] pub(crate) fn a() { crate::b::B; } pub struct A;",
        "#[cfg(all(test, unix))] impl A { fn a() { crate::b::B; } } pub struct A;",
        // A name of another crate, and a field.
        "use other::b::B; pub fn a(x: X) { x.b.c(); ::b::c() }",
        // A module is only a way to a name.
        "use crate::b; pub struct A;",
    ] {
        let b = "use crate::a::A; pub struct B(A); pub struct C; pub fn c() {}";
        assert_eq!(found(&[("lib.rs", LIB), ("a.rs", code), ("b.rs", b)]), [""; 0], "{code}");
    }
}

#[test]
fn the_binary_knows_the_library_by_its_name() {
    let files = [
        ("lib.rs", "pub mod cli;"),
        ("cli.rs", "pub fn run() {}"),
        ("main.rs", "mod own; fn main() { lap::cli::run() }"),
        ("own.rs", "pub fn x() { crate::main() }"),
    ];
    assert!(found(&files).is_empty(), "main.rs does not use own.rs");
    let files: BTreeMap<&str, &str> = files.into_iter().collect();
    let edges = House::new(&|file| files.get(file).map(|text| (*text).to_owned())).edges("lap");
    assert!(edges.contains_key(&("main.rs".into(), "cli.rs".into())), "{edges:?}");
}
