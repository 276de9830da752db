//! Where the row of a number stands: a table in pages, of which only those in use are there.
//!
//! A slice that everything is filed in has nearly all pages, one of a few late traces has one or two.

use super::super::aggregate::Id;

/// Numbers of a page.
const PAGE: usize = 256;

/// No row.
const NONE: u32 = u32::MAX;

/// Rows by number.
#[derive(Default)]
pub(super) struct Places {
    pages: Vec<Option<Box<[u32; PAGE]>>>,
}

impl Places {
    /// The row of a number: `next`, if it has none so far.
    pub(super) fn place(&mut self, id: Id, next: u32) -> u32 {
        let (page, within) = (id as usize / PAGE, id as usize % PAGE);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, Option::default);
        }
        let page = self.pages[page].get_or_insert_with(|| Box::new([NONE; PAGE]));
        let row = &mut page[within];
        if *row == NONE {
            *row = next;
        }
        *row
    }

    /// All rows, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let rows = self.pages.iter().flatten().flat_map(|page| page.iter());
        rows.copied().filter(|row| *row != NONE)
    }

    /// Forgets all rows and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.pages.iter_mut().flatten().for_each(|page| page.fill(NONE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_row_and_rows_come_by_number() {
        let mut places = Places::default();
        let ids = [70_000, 3, 255, 256, 3, 70_000];
        let rows: Vec<u32> =
            ids.iter().zip(0..).map(|(&id, next)| places.place(id, next)).collect();
        assert_eq!(rows, [0, 1, 2, 3, 1, 0]);
        assert_eq!(places.iter().collect::<Vec<_>>(), [1, 2, 3, 0]);
        places.clear();
        assert_eq!((places.iter().count(), places.place(3, 9)), (0, 9));
    }
}
