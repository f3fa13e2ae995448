//! What /proc shows of a process that another one was forked from: its command line and environment.

#![expect(
    unsafe_code,
    reason = "the arguments and the environment lie on the stack, owned by nobody"
)]

/// Overwrites the command line that /proc/self/cmdline and ps(1) show with `title`, cut to the room there
/// is, and the environment with nothing. For a process that has no further use for either and lives on
/// where others may look at it. Only in a process with a single thread.
pub fn erase(title: &[u8]) {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    let Some([arguments, environment]) = areas(&stat) else { return };
    for (at, &(start, end)) in [arguments, environment].iter().enumerate() {
        let length = end.saturating_sub(start);
        if start == 0 || length == 0 || length > 1 << 21 {
            continue;
        }
        let pointer = std::ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY: the kernel says that this part of the stack, mapped and writable, holds the strings.
        // Rust keeps no reference into them: `std::env` copies what it is asked for. Pointers of the C
        // library into them find strings that end at once.
        unsafe {
            std::ptr::write_bytes(pointer, 0, length);
            if at == 0 {
                std::ptr::copy_nonoverlapping(title.as_ptr(), pointer, title.len().min(length - 1));
            }
        }
    }
}

/// `arg_start`, `arg_end`, `env_start`, `env_end`: fields 48 to 51 of proc_pid_stat(5).
fn areas(stat: &str) -> Option<[(usize, usize); 2]> {
    // The second field is a name in parentheses, which may hold anything.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace().skip(45).map(|field| field.parse().ok());
    let mut pair = || Some((fields.next()??, fields.next()??));
    Some([pair()?, pair()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let stat = format!("1 (odd) name 4 5) {}", fields.join(" "));
        assert_eq!(areas(&stat), Some([(48, 49), (50, 51)]));
        assert_eq!(areas("1 (x) 2 3"), None);
    }

    #[test]
    fn the_kernel_agrees_where_the_arguments_are() {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let [(start, end), _] = areas(&stat).unwrap();
        assert_eq!(end - start, std::fs::read("/proc/self/cmdline").unwrap().len());
    }
}
