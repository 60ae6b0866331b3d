//! Which people of a chart get a box of their own, and what is folded into a count.

use super::Node;

/// The most boxes one picture holds, which keeps its text under about a megabyte.
pub(super) const MAX_BOXES: usize = 1_500;
/// The most levels drawn below the top, which keeps a long chain from becoming a tower.
pub(super) const MAX_DEPTH: usize = 30;
/// How many reports without people of their own a manager shows; the first that fits is taken for a
/// whole level.
const TEAM_SIZES: [usize; 3] = [24, 12, 6];

/// The people below one person, as a tree that is safe to walk whatever the input was.
pub(super) struct Tree {
    /// Whom a node reports to; indexes here are positions in the list of nodes.
    pub(super) boss: Vec<Option<usize>>,
    /// Who reports to a node, by id.
    pub(super) reports: Vec<Vec<usize>>,
    /// How many people are in a node's subtree, itself included.
    pub(super) size: Vec<usize>,
    /// Where the tree starts.
    pub(super) top: usize,
    /// How many levels the tree has.
    pub(super) levels: usize,
}

/// One box of the picture; a box stands behind its manager's box in the list.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) what: What,
    pub(super) level: usize,
    pub(super) kids: Vec<usize>,
}

/// What a box shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// One person, with the number of people below whom the picture leaves out.
    Person { node: usize, folded: usize },
    /// The rest of a manager's team, and how many people are below them in turn.
    More { boss: usize, people: usize, below: usize },
}

impl Tree {
    /// The tree below `root`, or below the lowest id without a manager; `None` when there is no
    /// such person.
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
        // Everyone has one manager, so a cycle that can be reached from the top leads back to the
        // top itself.
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

    /// The boxes to draw, level by level: a level that has no room even with its teams cut short
    /// stays folded.
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
            let room = MAX_BOXES - cells.len();
            let Some(most) = TEAM_SIZES.into_iter().find(|&most| cost(most) <= room) else { break };
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

    /// The boxes below one person: so many individual contributors, twice as many managers, and one
    /// box for the rest.
    fn team(&self, node: usize, most: usize) -> Vec<What> {
        let reports = &self.reports[node];
        let leaders = reports.iter().filter(|&&i| !self.reports[i].is_empty()).count();
        // A box for "one more" would take the place of that one.
        let cut = |count: usize, most: usize| if count > most + 1 { most } else { count };
        let mut room = [cut(reports.len() - leaders, most), cut(leaders, 2 * most)];
        let (mut people, mut below) = (0, 0);
        let mut team = Vec::new();
        for &i in reports {
            let room = &mut room[usize::from(!self.reports[i].is_empty())];
            if *room > 0 {
                *room -= 1;
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
