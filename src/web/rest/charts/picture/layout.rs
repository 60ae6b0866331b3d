//! Places the boxes and lines of an organization chart: teams side by side at the top, vertical
//! lists further down.

use super::outline::Cell;

/// Width of a box, in pixels.
pub(super) const BOX_WIDTH: i32 = 200;
/// Height of a box, in pixels.
pub(super) const BOX_HEIGHT: i32 = 48;
/// Height of a grid row; a box and the space below it take two rows.
const ROW: i32 = 32;
const BOX_ROWS: usize = 2;
const HALF: i32 = BOX_WIDTH / 2;
const GAP: i32 = 24;
/// The length of the lines from a list's vertical line to its boxes.
const STUB: i32 = 14;
/// How many individual contributors are placed side by side, below the top and further down.
const SIDE_BY_SIDE: [usize; 2] = [5, 1];
/// Heights of a column of boxes to try, in boxes.
const COLUMNS: [usize; 3] = [13, 25, 40];
/// A layout of at most this size is taken without trying others.
const SMALL: (i32, i32) = (1_600, 1_200);
/// The aspect ratio that larger pictures should fit: width and height.
const PAGE: (i32, i32) = (16, 9);

/// The layout of a subtree, in pixels relative to the middle of its top box's upper edge.
#[derive(Default)]
pub(super) struct Block {
    /// The boxes: number, horizontal middle, upper edge.
    pub(super) boxes: Vec<(usize, i32, i32)>,
    /// Horizontal or vertical lines from one point to another.
    pub(super) lines: Vec<[i32; 4]>,
    /// The leftmost and rightmost pixel of each grid row.
    outline: Vec<(i32, i32)>,
}

/// The layout that fits the smallest page, and so is readable at the largest scale.
pub(super) fn lay_out(cells: &[Cell]) -> Block {
    let deepest = cells.last().map_or(1, |cell| cell.level.max(1));
    let mut best: Option<(i32, Block)> = None;
    for (hang_from, column) in
        (1..=deepest).rev().flat_map(|level| COLUMNS.map(|column| (level, column)))
    {
        let block = Plan { cells, hang_from, column }.draw();
        let (left, right) = block.span();
        let (width, height) = (right - left, block.height());
        if width <= SMALL.0 && height <= SMALL.1 {
            return block;
        }
        let page = (width / PAGE.0).max(height / PAGE.1);
        if best.as_ref().is_none_or(|(smallest, _)| page < *smallest) {
            best = Some((page, block));
        }
    }
    best.map(|(_, block)| block).unwrap_or_default()
}

/// One way to lay out the boxes.
struct Plan<'a> {
    cells: &'a [Cell],
    /// The first level at which all reports are in a list below their manager instead of side by
    /// side.
    hang_from: usize,
    /// The number of boxes in a full column.
    column: usize,
}

impl Plan<'_> {
    /// Goes from the last box to the first, so that reports are laid out before their manager
    /// without recursion.
    fn draw(&self) -> Block {
        let mut blocks: Vec<Block> = self.cells.iter().map(|_| Block::default()).collect();
        for at in (0..self.cells.len()).rev() {
            blocks[at] = self.subtree(at, &mut blocks);
        }
        blocks.into_iter().next().unwrap_or_default()
    }

    fn subtree(&self, at: usize, blocks: &mut [Block]) -> Block {
        let Cell { level, kids, .. } = &self.cells[at];
        let mut block = Block::of_box(at);
        if kids.is_empty() {
            return block;
        }
        let (alone, leading): (Vec<usize>, Vec<usize>) =
            kids.iter().partition(|&&kid| self.cells[kid].kids.is_empty());
        let few = alone.len() <= SIDE_BY_SIDE[usize::from(*level > 0)];
        let listed = *level >= self.hang_from || (leading.is_empty() && !few);
        let mut take = |kids: &[usize]| -> Vec<Block> {
            kids.iter().map(|&kid| std::mem::take(&mut blocks[kid])).collect()
        };
        let mut parts = if *level > self.hang_from {
            vec![hang(take(kids))]
        } else if listed {
            self.columns(take(kids))
        } else if few {
            take(kids)
        } else {
            let mut parts = take(&leading);
            parts.extend(self.columns(take(&alone)));
            parts
        };
        if listed && parts.len() == 1 {
            block.add(parts.remove(0), STUB - HALF, BOX_ROWS);
        } else {
            block.add_row(parts);
        }
        block
    }

    /// Distributes reports over as many columns as needed, of about the same height.
    fn columns(&self, kids: Vec<Block>) -> Vec<Block> {
        let rows: usize = kids.iter().map(|kid| kid.outline.len()).sum();
        let count = rows.div_ceil(self.column * BOX_ROWS).max(1);
        let full = rows.div_ceil(count);
        let mut columns = vec![Vec::new()];
        let mut used = 0;
        for kid in kids {
            // The middle of a report's block decides its column.
            if (used + kid.outline.len() / 2) / full >= columns.len() {
                columns.push(Vec::new());
            }
            used += kid.outline.len();
            if let Some(column) = columns.last_mut() {
                column.push(kid);
            }
        }
        columns.into_iter().filter(|column| !column.is_empty()).map(hang).collect()
    }
}

/// A vertical list of reports, attached to a line at its left, which is the block's middle.
fn hang(kids: Vec<Block>) -> Block {
    let mut list = Block::default();
    let mut end = 0;
    for kid in kids {
        let top = list.outline.len();
        end = pixels(top) + BOX_HEIGHT / 2;
        list.lines.push([0, end, STUB, end]);
        list.add(kid, STUB + HALF, top);
    }
    for row in &mut list.outline {
        row.0 = row.0.min(0);
    }
    list.lines.push([0, BOX_HEIGHT - pixels(BOX_ROWS), 0, end]);
    list
}

impl Block {
    fn of_box(at: usize) -> Self {
        Self { boxes: vec![(at, 0, 0)], lines: Vec::new(), outline: vec![(-HALF, HALF); BOX_ROWS] }
    }

    /// The leftmost and the rightmost pixel.
    pub(super) fn span(&self) -> (i32, i32) {
        self.outline.iter().fold((0, 0), |all, row| (all.0.min(row.0), all.1.max(row.1)))
    }

    /// The height in pixels, with the space below the lowest box.
    pub(super) fn height(&self) -> i32 {
        pixels(self.outline.len())
    }

    /// Adds another block; its first row must touch or overlap the existing rows.
    fn add(&mut self, other: Self, x: i32, row: usize) {
        let y = pixels(row);
        self.boxes.extend(other.boxes.into_iter().map(|(at, left, top)| (at, left + x, top + y)));
        self.lines.extend(
            other.lines.into_iter().map(|[x1, y1, x2, y2]| [x1 + x, y1 + y, x2 + x, y2 + y]),
        );
        for (at, (left, right)) in (row..).zip(other.outline) {
            match self.outline.get_mut(at) {
                Some(row) => *row = (row.0.min(left + x), row.1.max(right + x)),
                None => self.outline.push((left + x, right + x)),
            }
        }
    }

    /// Adds blocks side by side, as close as their outlines allow, with this box above their
    /// middle.
    fn add_row(&mut self, parts: Vec<Self>) {
        let mut row = Self::default();
        let mut middles = Vec::new();
        for part in parts {
            let clear = row.outline.iter().zip(&part.outline).map(|(a, b)| a.1 + GAP - b.0).max();
            middles.push(clear.unwrap_or(0));
            row.add(part, clear.unwrap_or(0), 0);
        }
        let (Some(&first), Some(&last)) = (middles.first(), middles.last()) else { return };
        let shift = -i32::midpoint(first, last);
        let below = pixels(BOX_ROWS + 1);
        let bus = i32::midpoint(BOX_HEIGHT, below);
        self.lines.push([0, BOX_HEIGHT, 0, bus]);
        self.lines.push([first + shift, bus, last + shift, bus]);
        self.lines.extend(middles.iter().map(|x| [x + shift, bus, x + shift, below]));
        self.outline.push((first + shift, last + shift));
        self.add(row, shift, BOX_ROWS + 1);
    }
}

fn pixels(rows: usize) -> i32 {
    i32::try_from(rows).map_or(i32::MAX, |rows| rows.saturating_mul(ROW))
}
