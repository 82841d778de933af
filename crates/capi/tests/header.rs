//! `include/belamy.h` is what cbindgen makes of the sources; `BELAMY_BLESS=1` writes it anew.

use std::path::Path;

#[test]
fn the_header_is_made_from_the_sources() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let made = ["lib", "status", "generator", "trainer"]
        .into_iter()
        .fold(cbindgen::Builder::new().with_config(config), |builder, file| {
            builder.with_src(folder.join(format!("src/{file}.rs")))
        });
    let mut text = Vec::new();
    made.generate().unwrap().write(&mut text);
    let path = folder.join("include/belamy.h");
    if std::env::var_os("BELAMY_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read(&path).unwrap_or_default();
    assert!(kept == text, "the sources have changed: BELAMY_BLESS=1 cargo test -p belamy-capi");
}
