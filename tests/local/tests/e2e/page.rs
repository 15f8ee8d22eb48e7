//! The page in Chromium, used as people use it.

use rowmill_tests_local::{node, program};

/// Writes screenshots to `target/page/screenshots`. The environment variable `CHROMIUM` names another browser.
#[test]
#[ignore = "needs Chromium and takes two minutes"]
fn people_use_the_page() {
    let folder = program::root().join("target/page");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let used = node::run("page.mjs", &[&program::binary(), &folder]);
    let said = String::from_utf8_lossy(&used.stdout);
    println!("{said}");
    assert!(
        used.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&used.stderr)
    );
}
