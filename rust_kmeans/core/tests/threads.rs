//! Threads of fits side by side. One test, so that no other pool is at work in its process.

use rust_kmeans_core::{Params, Result, default_threads};

#[test]
fn pools_share_the_threads_of_the_process_unless_their_number_is_asked_for() -> Result<()> {
    let by_default = Params::default().check()?;
    let asked = Params {
        n_threads: Some(3),
        ..Params::default()
    }
    .check()?;
    let all = default_threads();
    let first = by_default.pool()?;
    assert_eq!(first.n_threads(), all);
    let second = by_default.pool()?;
    assert_eq!(second.n_threads(), 1, "nothing is left but the caller");
    assert_eq!(asked.pool()?.n_threads(), 3);
    drop(first);
    assert_eq!(by_default.pool()?.n_threads(), (all - 1).max(1));
    drop(second);
    assert_eq!(by_default.pool()?.n_threads(), all);
    Ok(())
}
