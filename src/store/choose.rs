//! Which remembered steps and cache mounts go first; pure.
//!
//! Blobs and trees are parts: a remembered step needs some, and two steps may need the same
//! one. A part goes with the last step that needs it, unless a named image needs it.

use std::cmp::Reverse;
use std::time::SystemTime;

/// Something that can be removed by itself: a remembered step or a cache mount.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// When it was last used.
    pub(super) used: SystemTime,
    /// When it was made.
    pub(super) made: SystemTime,
    /// How large it is without its parts.
    pub(super) bytes: u64,
    /// The parts that it needs.
    pub(super) needs: Vec<usize>,
}

/// A blob, or the trees of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// How large it is.
    pub(super) bytes: u64,
    /// Whether a named image needs it.
    pub(super) kept: bool,
}

/// How much is chosen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    /// Nothing that was used since.
    pub(super) used_before: Option<SystemTime>,
    /// Nothing more when all together is no larger than this.
    pub(super) keep: Option<u64>,
}

/// What is to be removed, by number, and what is then left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) items: Vec<usize>,
    pub(super) parts: Vec<usize>,
    pub(super) left: u64,
}

/// Chooses the least recently used.
pub(super) fn choose(items: &[Item], parts: &[Part], limits: Limits) -> Chosen {
    let mut needed = vec![0_usize; parts.len()];
    for part in items.iter().flat_map(|item| &item.needs) {
        needed[*part] += 1;
    }
    let bytes = items.iter().map(|item| item.bytes).chain(parts.iter().map(|part| part.bytes));
    let mut chosen = Chosen { items: Vec::new(), parts: Vec::new(), left: bytes.sum() };
    let mut order: Vec<usize> = (0..items.len()).collect();
    // Of one build's steps the later ones go first: nothing stands on them.
    order.sort_by_key(|item| (items[*item].used, Reverse(items[*item].made), *item));
    for number in order {
        let item = &items[number];
        let spared = limits.used_before.is_some_and(|time| item.used >= time);
        if spared || limits.keep.is_some_and(|keep| chosen.left <= keep) {
            break;
        }
        chosen.items.push(number);
        chosen.left -= item.bytes;
        for part in &item.needs {
            needed[*part] -= 1;
            if needed[*part] == 0 && !parts[*part].kept {
                chosen.parts.push(*part);
                chosen.left -= parts[*part].bytes;
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn item(used: u64, made: u64, bytes: u64, needs: &[usize]) -> Item {
        Item { used: at(used), made: at(made), bytes, needs: needs.to_vec() }
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let part = |bytes, kept| Part { bytes, kept };
        let parts = [part(10, false), part(20, false), part(40, true), part(80, false)];
        let items = [
            // Two of one build, the second on top of the first.
            item(5, 1, 0, &[0]),
            item(5, 2, 0, &[1, 2]),
            // An older one, whose part others need as well.
            item(3, 3, 0, &[1]),
            // A cache, and what is in nobody's use.
            item(4, 1, 100, &[]),
            item(1, 1, 0, &[3]),
        ];
        let chosen = |used_before: Option<u64>, keep| {
            let limits = Limits { used_before: used_before.map(at), keep };
            let Chosen { items, parts, left } = choose(&items, &parts, limits);
            (items, parts, left)
        };
        assert_eq!(chosen(None, None), (vec![4, 2, 3, 1, 0], vec![3, 1, 0], 40));
        assert_eq!(chosen(None, Some(250)), (vec![], vec![], 250));
        assert_eq!(chosen(None, Some(249)), (vec![4], vec![3], 170));
        // The record alone frees nothing.
        assert_eq!(chosen(None, Some(169)), (vec![4, 2, 3], vec![3], 70));
        assert_eq!(chosen(None, Some(50)), (vec![4, 2, 3, 1], vec![3, 1], 50));
        assert_eq!(chosen(None, Some(0)), (vec![4, 2, 3, 1, 0], vec![3, 1, 0], 40));
        assert_eq!(chosen(Some(4), None), (vec![4, 2], vec![3], 170));
        assert_eq!(chosen(Some(5), Some(100)), (vec![4, 2, 3], vec![3], 70));
        assert_eq!(chosen(Some(1), None), (vec![], vec![], 250));
    }
}
