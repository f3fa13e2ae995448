//! The same work on many things, on all cores.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// More threads wait for each other.
const THREADS: usize = 8;

/// What `work` makes of each item, in their order, or the first failure there was. A thread takes `piece` of
/// them at once; a few pieces are done sooner than a thread is started.
pub(super) fn map<T: Sync, R: Send, E: Send>(
    items: &[T],
    piece: usize,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    const FEW: usize = 4;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    if threads < 2 || items.len() < FEW * piece {
        return items.iter().map(work).collect();
    }
    let pieces: Vec<&[T]> = items.chunks(piece).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results = Mutex::new(Vec::with_capacity(pieces.len()));
    let run = || {
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(at) else { return };
            let result: Result<Vec<R>, E> = piece.iter().map(&work).collect();
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    std::thread::scope(|scope| {
        (1..threads.min(pieces.len())).for_each(|_| drop(scope.spawn(run)));
        run();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(at, _)| *at);
    let mut all = Vec::with_capacity(items.len());
    for (_, result) in results {
        all.extend(result?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn results_come_in_order_and_a_failure_ends_it() {
        for count in [0, 1, 7, 100, 1001] {
            let items: Vec<usize> = (0..count).collect();
            let doubled = map(&items, 3, |item| Ok::<_, ()>(item * 2)).unwrap();
            assert_eq!(doubled, items.iter().map(|item| item * 2).collect::<Vec<_>>());
            let failing = |item: &usize| if *item == 90 { Err(*item) } else { Ok(*item) };
            assert_eq!(map(&items, 3, failing).err(), (count > 90).then_some(90));
        }
    }
}
