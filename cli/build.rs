//! Has the crate built again when a translation changes: cargo does not know that `rust_i18n::i18n!` reads them.

fn main() {
    println!("cargo:rerun-if-changed=locales");
}
