//! Memory of an engine's own processes: proportional set size, so that shared pages count once.

use super::engine::Engine;
use std::io;

/// KiB over all of an engine's processes.
pub(crate) fn of(engine: &Engine) -> io::Result<f64> {
    let mut sum = 0.0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let dir = entry.path();
        let pid = entry.file_name().to_string_lossy().parse::<u32>();
        if !pid.is_ok_and(|pid| engine.owns(pid)) {
            continue;
        }
        // Gone meanwhile: costs nothing.
        let rollup = std::fs::read_to_string(dir.join("smaps_rollup")).unwrap_or_default();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        sum += pss
            .and_then(|text| text.trim().strip_suffix(" kB")?.parse::<f64>().ok())
            .unwrap_or(0.0);
    }
    Ok(sum)
}
