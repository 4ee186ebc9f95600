//! A vector in blocks of one size, which never moves what it holds.
//!
//! A million entries that grow in one piece are copied again and again, and the pieces they leave behind stay with the
//! process: no later piece fits into them.

use std::ops::{Index, IndexMut};

/// Items of a block; a power of two, so that finding one is a shift and a mask. Large enough that the list of blocks
/// is nothing beside them, small enough that the last one wastes little.
const SIZE: usize = 4_096;

#[derive(Debug)]
pub(super) struct Blocks<T> {
    /// All full but the last, which is not empty.
    blocks: Vec<Vec<T>>,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self { blocks: Vec::new() }
    }
}

impl<T> Blocks<T> {
    pub(super) fn len(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * SIZE + last.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn first(&self) -> Option<&T> {
        self.blocks.first()?.first()
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.blocks.get(index / SIZE)?.get(index % SIZE)
    }

    pub(super) fn push(&mut self, item: T) {
        match self.blocks.last_mut().filter(|last| last.len() < SIZE) {
            Some(last) => last.push(item),
            None => {
                let mut block = Vec::with_capacity(SIZE);
                block.push(item);
                self.blocks.push(block);
            }
        }
    }

    /// Takes the last item out.
    fn pop(&mut self) -> Option<T> {
        let last = self.blocks.last_mut()?;
        let item = last.pop();
        if last.is_empty() {
            self.blocks.pop();
        }
        item
    }

    /// Takes an item out and puts the last one in its place. Does nothing if it is not there.
    pub(super) fn swap_remove(&mut self, index: usize) {
        if index < self.len()
            && let Some(last) = self.pop()
            && index < self.len()
        {
            self[index] = last;
        }
    }
}

impl<T: Copy> Blocks<T> {
    pub(super) fn swap(&mut self, a: usize, b: usize) {
        let item = self[a];
        self[a] = self[b];
        self[b] = item;
    }
}

impl<T> Index<usize> for Blocks<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.blocks[index / SIZE][index % SIZE]
    }
}

impl<T> IndexMut<usize> for Blocks<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.blocks[index / SIZE][index % SIZE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over the bound of a block, there and back.
    #[test]
    fn it_is_a_vector_to_whoever_looks() {
        let (mut blocks, mut plain) = (Blocks::default(), Vec::new());
        for n in 0..3 * SIZE + 1 {
            blocks.push(n);
            plain.push(n);
            assert_eq!(blocks.len(), plain.len());
        }
        blocks.swap(1, 2 * SIZE);
        plain.swap(1, 2 * SIZE);
        for step in 0.. {
            assert!((0..plain.len()).all(|n| blocks.get(n) == plain.get(n)) || step % 997 > 0, "{step}");
            assert_eq!((blocks.first(), blocks.len()), (plain.first(), plain.len()));
            assert_eq!((blocks.get(plain.len()), blocks.is_empty()), (None, plain.is_empty()));
            blocks.swap_remove(plain.len());
            if plain.is_empty() {
                break;
            }
            let gone = step * 7_919 % plain.len();
            blocks.swap_remove(gone);
            plain.swap_remove(gone);
        }
    }
}
