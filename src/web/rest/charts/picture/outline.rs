//! Decides which people of a chart get a box, and which are folded into a count.

use super::Node;

/// The maximum number of boxes in a picture, which keeps its text below about a megabyte.
pub(super) const MAX_BOXES: usize = 1_500;
/// The maximum number of levels below the top, which limits the height of a long chain.
pub(super) const MAX_DEPTH: usize = 30;
/// How many individual contributors a manager shows. A whole level uses the first size that fits.
const TEAM_SIZES: [usize; 3] = [24, 12, 6];

/// The people below one person, as a tree without cycles for any input.
pub(super) struct Tree {
    /// The manager of each node. Indexes are positions in the list of nodes.
    pub(super) boss: Vec<Option<usize>>,
    /// The reports of each node, by id.
    pub(super) reports: Vec<Vec<usize>>,
    /// The number of people in each node's subtree, including itself.
    pub(super) size: Vec<usize>,
    /// The root of the tree.
    pub(super) top: usize,
    /// The number of levels.
    pub(super) levels: usize,
}

/// One box of the picture. It comes after its manager's box in the list.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) what: What,
    pub(super) level: usize,
    pub(super) kids: Vec<usize>,
}

/// What a box shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// One person, and how many people below are left out.
    Person { node: usize, folded: usize },
    /// The rest of a manager's team, and how many people are below them.
    More { boss: usize, people: usize, below: usize },
}

impl Tree {
    /// The tree below `root`, or below the lowest id without a manager; `None` if there is no such
    /// person.
    pub(super) fn new(nodes: &[Node<'_>], root: Option<i64>) -> Option<Self> {
        let mut by_id: Vec<usize> = (0..nodes.len()).collect();
        by_id.sort_by_key(|&i| nodes[i].id);
        by_id.dedup_by_key(|i| nodes[*i].id);
        let find =
            |id: i64| by_id.binary_search_by_key(&id, |&i| nodes[i].id).ok().map(|at| by_id[at]);
        let mut boss = vec![None; nodes.len()];
        let mut reports = vec![Vec::new(); nodes.len()];
        for &i in &by_id {
            boss[i] = nodes[i].manager.and_then(find);
            if let Some(manager) = boss[i] {
                reports[manager].push(i);
            }
        }
        let first = |fits: &dyn Fn(usize) -> bool| by_id.iter().copied().find(|&i| fits(i));
        let top = match root {
            Some(id) => find(id)?,
            None => first(&|i| nodes[i].manager.is_none())
                .or_else(|| first(&|i| boss[i].is_none()))
                .or_else(|| first(&|_| true))?,
        };
        // Everyone has one manager, so a cycle that is reachable from the top includes the top.
        if let Some(manager) = boss[top] {
            reports[manager].retain(|&i| i != top);
        }
        let mut tree = Self { boss, reports, size: vec![1; nodes.len()], top, levels: 0 };
        tree.measure();
        Some(tree)
    }

    fn measure(&mut self) {
        let mut order = vec![self.top];
        let mut start = 0;
        while start < order.len() {
            let end = order.len();
            for at in start..end {
                order.extend_from_slice(&self.reports[order[at]]);
            }
            start = end;
            self.levels += 1;
        }
        for &i in order[1..].iter().rev() {
            if let Some(manager) = self.boss[i] {
                self.size[manager] += self.size[i];
            }
        }
    }

    /// The boxes to draw, level by level. Levels are folded from the first that has too many boxes
    /// even with its teams cut short.
    pub(super) fn outline(&self, depth: Option<u32>) -> Vec<Cell> {
        let depth =
            depth.and_then(|d| usize::try_from(d).ok()).map_or(MAX_DEPTH, |d| d.min(MAX_DEPTH));
        let mut cells = vec![Cell { what: self.person(self.top), level: 0, kids: Vec::new() }];
        let mut start = 0;
        for level in 1..=depth {
            let above: Vec<(usize, usize)> = (start..cells.len())
                .filter_map(|at| match cells[at].what {
                    What::Person { node, .. } => Some((at, node)),
                    What::More { .. } => None,
                })
                .collect();
            let cost = |most: usize| {
                above.iter().map(|&(_, node)| self.team(node, most).len()).sum::<usize>()
            };
            let left = MAX_BOXES - cells.len();
            let Some(most) = TEAM_SIZES.into_iter().find(|&most| cost(most) <= left) else { break };
            start = cells.len();
            for (at, node) in above {
                let team = self.team(node, most);
                cells[at].kids = (cells.len()..cells.len() + team.len()).collect();
                cells[at].what = What::Person { node, folded: 0 };
                cells.extend(team.into_iter().map(|what| Cell { what, level, kids: Vec::new() }));
            }
            if start == cells.len() {
                break;
            }
        }
        cells
    }

    /// The boxes below one person: at most `most` individual contributors, twice as many managers,
    /// and one box for the rest.
    fn team(&self, node: usize, most: usize) -> Vec<What> {
        let reports = &self.reports[node];
        let leaders = reports.iter().filter(|&&i| !self.reports[i].is_empty()).count();
        // A box for one more person would take as much space as that person's box.
        let cut = |count: usize, most: usize| if count > most + 1 { most } else { count };
        let mut left = [cut(reports.len() - leaders, most), cut(leaders, 2 * most)];
        let (mut people, mut below) = (0, 0);
        let mut team = Vec::new();
        for &i in reports {
            let left = &mut left[usize::from(!self.reports[i].is_empty())];
            if *left > 0 {
                *left -= 1;
                team.push(self.person(i));
            } else {
                people += 1;
                below += self.size[i] - 1;
            }
        }
        if people > 0 {
            team.push(What::More { boss: node, people, below });
        }
        team
    }

    fn person(&self, node: usize) -> What {
        What::Person { node, folded: self.size[node] - 1 }
    }
}
