//! Checks pictures through an XML parser, as a browser reads them.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use roxmltree::Document;

use super::{Node, PictureOptions, draw, label, layout, outline};

const ALL: PictureOptions = PictureOptions { root: None, depth: None };

/// One clerk per manager given, with ids from 0.
fn clerks(managers: impl IntoIterator<Item = Option<i64>>) -> Vec<Node<'static>> {
    let clerk = |(id, manager)| Node { id, name: "Pat Clerk", title: "Clerk", manager };
    (0..).zip(managers).map(clerk).collect()
}

fn chain(length: i64) -> Vec<Node<'static>> {
    clerks((0..length).map(|id| (id > 0).then(|| id - 1)))
}

fn flat(people: i64) -> Vec<Node<'static>> {
    clerks((0..people).map(|id| (id > 0).then_some(0)))
}

/// A drawn box: its spoken label, left edge, upper edge.
fn boxes(svg: &str) -> Vec<(String, i32, i32)> {
    let document = Document::parse(svg).unwrap();
    let people = document.descendants().filter(|node| {
        node.attribute("role").is_some_and(|role| role.starts_with("graphics-symbol"))
    });
    people
        .map(|node| {
            let place =
                node.attribute("transform").unwrap().replace("translate(", "").replace(')', "");
            let (x, y) = place.split_once(' ').unwrap();
            (
                node.first_element_child().unwrap().text().unwrap().to_owned(),
                x.parse().unwrap(),
                y.parse().unwrap(),
            )
        })
        .collect()
}

fn shown(nodes: &[Node<'_>], options: PictureOptions) -> (String, usize) {
    let svg = draw("Chart", nodes, &options).unwrap();
    let count = boxes(&svg).len();
    (svg, count)
}

#[test]
fn a_chart_without_people_says_so() {
    let svg = draw("Empty & new", &[], &ALL).unwrap();
    assert!(svg.contains("no people yet"));
    assert_eq!(
        Document::parse(&svg).unwrap().root_element().first_element_child().unwrap().text(),
        Some("Empty & new")
    );
}

#[test]
fn an_unknown_root_has_no_picture() {
    assert!(draw("Chart", &flat(3), &PictureOptions { root: Some(9), depth: None }).is_none());
    assert!(draw("Chart", &[], &PictureOptions { root: Some(9), depth: None }).is_none());
}

#[test]
fn a_person_is_spoken_with_manager_and_reports() {
    let people = [
        Node { id: 1, name: "Ada", title: "Chief", manager: None },
        Node { id: 2, name: "Bo", title: "", manager: Some(1) },
        Node { id: 3, name: " ", title: "Clerk", manager: Some(2) },
    ];
    let labels: Vec<String> =
        boxes(&shown(&people, ALL).0).into_iter().map(|(label, ..)| label).collect();
    assert_eq!(
        labels,
        [
            "Ada, Chief, 1 direct report",
            "Bo, reports to Ada, 1 direct report",
            "(no name), Clerk, reports to Bo",
        ]
    );
}

#[test]
fn a_large_team_ends_in_a_count() {
    let (svg, count) = shown(&flat(201), ALL);
    assert_eq!(count, 1 + 24 + 1);
    assert!(svg.contains("+ 176 more") && svg.contains("25 of 201 people"));
    assert_eq!(shown(&flat(26), ALL).1, 26, "a single person is shown instead of counted");
}

#[test]
fn levels_below_the_depth_become_a_count_on_the_box() {
    let (svg, count) = shown(&chain(10), PictureOptions { root: Some(2), depth: Some(3) });
    assert_eq!(count, 4);
    assert!(svg.contains("+ 4 below") && svg.contains("The team of Pat Clerk, Clerk"));
    assert_eq!(shown(&chain(10), PictureOptions { root: None, depth: Some(0) }).1, 1);
    assert_eq!(shown(&chain(10), PictureOptions { root: None, depth: Some(u32::MAX) }).1, 10);
}

#[test]
fn cycles_unknown_managers_and_duplicate_ids_are_harmless() {
    let svg = shown(&clerks([None, Some(0), Some(99), Some(4), Some(3), None, Some(6)]), ALL).0;
    assert_eq!(boxes(&svg).len(), 2);
    assert!(svg.contains("5 people are not connected"));
    assert_eq!(
        shown(&clerks([Some(2), Some(0), Some(1)]), ALL).1,
        3,
        "a cycle is cut at the lowest id"
    );
    assert_eq!(
        shown(&clerks([Some(2), Some(0), Some(7)]), ALL).1,
        3,
        "a person with an unknown manager is the top"
    );
    let twins = [flat(3), flat(3)].concat();
    assert_eq!(shown(&twins, ALL).1, 3);
}

#[test]
fn a_chain_of_thousands_fits_a_small_stack() {
    let work = || shown(&chain(5_000), ALL);
    let (svg, count) =
        std::thread::Builder::new().stack_size(512 << 10).spawn(work).unwrap().join().unwrap();
    assert_eq!(count, outline::MAX_DEPTH + 1);
    assert!(svg.contains("+ 4,969 below"));
}

#[test]
fn a_hundred_thousand_people_are_drawn_at_once_and_below_a_megabyte() {
    for reports in [2, 7, 300] {
        let people = clerks((0..100_000).map(|id| (id > 0).then(|| (id - 1) / reports)));
        let start = Instant::now();
        let (svg, count) = shown(&people, ALL);
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{reports} reports: {:?}",
            start.elapsed()
        );
        assert!(count > 100 && count <= outline::MAX_BOXES, "{reports} reports: {count} boxes");
        assert!(svg.len() < 1_000_000, "{reports} reports: {} bytes", svg.len());
    }
}

#[test]
fn text_is_cut_to_its_width_between_characters() {
    assert_eq!(label::fit("short", 1_000), "short");
    assert_eq!(label::fit("山田太郎山田太郎", 500), "山田太…");
    assert_eq!(label::fit("nnne\u{301}nnnn", 310), "nnn…");
    assert_eq!(label::fit("nnne\u{301}nnnn", 340), "nnne\u{301}…");
    assert_eq!(label::fit("👩\u{200d}👧👩\u{200d}👧👩\u{200d}👧", 300), "👩\u{200d}👧…");
    assert_eq!(label::fit("🇩🇪🇫🇷🇮🇹", 300), "🇩🇪…");
    assert_eq!(label::fit("👍🏽👍🏿👍🏻", 300), "👍🏽…");
    assert!(label::fit(&"a\u{301}".repeat(1_000), 1_000).chars().count() <= 40);
    assert!(label::fit(&"\u{301}".repeat(1_000), 1_000).chars().count() <= 1);
    assert_eq!(label::clean(" a\u{0}\u{202e}b\u{85}\n c\u{ffff} "), "a b c");
    assert_eq!(label::thousands(1_234_567), "1,234,567");
}

fn any_people() -> impl Strategy<Value = Vec<(String, String, Option<i64>)>> {
    let nasty =
        prop_oneof![any::<String>(), "[<>&\"'\\]!\\[\\-\\x00-\\x1f\u{202e}\u{fffe}a-c]{0,40}"];
    prop::collection::vec((nasty.clone(), nasty, prop::option::of(-1..40_i64)), 0..40)
}

/// Trees of many shapes: each person's manager is one of so many people before.
fn any_tree() -> impl Strategy<Value = Vec<Node<'static>>> {
    (1..200_usize, 1..40_usize).prop_flat_map(|(size, near)| {
        prop::collection::vec(any::<prop::sample::Index>(), size).prop_map(move |picks| {
            let manager = |(at, pick): (usize, &prop::sample::Index)| {
                (at > 0).then(|| i64::try_from(at - 1 - pick.index(at.min(near))).unwrap())
            };
            clerks(picks.iter().enumerate().map(manager))
        })
    })
}

proptest! {
    #[test]
    fn any_text_stays_text(chart in any::<String>(), people in any_people()) {
        let node = |(id, person)| {
            let (name, title, manager): &(String, String, Option<i64>) = person;
            Node { id, name, title, manager: *manager }
        };
        let nodes: Vec<Node<'_>> = (0..).zip(&people).map(node).collect();
        let svg = draw(&chart, &nodes, &ALL).unwrap();
        let document = Document::parse(&svg).unwrap();
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            let known = ["svg", "title", "desc", "style", "clipPath", "path", "text", "g", "rect"];
            prop_assert!(known.contains(&node.tag_name().name()));
            prop_assert!(node.attributes().all(|attribute| !attribute.name().starts_with("on")));
        }
        prop_assert!(!svg.contains(|c: char| c.is_control() && c != '\n'));
        let has_forbidden = svg.contains(['\u{202e}', '\u{fffe}', '\u{feff}']);
        prop_assert!(!has_forbidden);
    }

    #[test]
    fn boxes_keep_apart_in_order_and_below_their_manager(people in any_tree(), depth in prop::option::of(0..8_u32)) {
        let tree = outline::Tree::new(&people, None).unwrap();
        let cells = tree.outline(depth);
        let block = layout::lay_out(&cells);
        let (left, right) = block.span();
        let mut place = vec![(0, 0); cells.len()];
        for &(at, x, y) in &block.boxes {
            place[at] = (x, y);
            prop_assert!(x - layout::BOX_WIDTH / 2 >= left && x + layout::BOX_WIDTH / 2 <= right);
            prop_assert!(y >= 0 && y + layout::BOX_HEIGHT <= block.height());
        }
        prop_assert_eq!(block.boxes.len(), cells.len());
        for (a, &(_, ax, ay)) in block.boxes.iter().enumerate() {
            for &(_, bx, by) in &block.boxes[..a] {
                prop_assert!((ax - bx).abs() > layout::BOX_WIDTH || (ay - by).abs() > layout::BOX_HEIGHT);
            }
            // No line runs through a box: lines only touch its edges.
            for &[x1, y1, x2, y2] in &block.lines {
                let beside = x1.max(x2) <= ax - layout::BOX_WIDTH / 2 || x1.min(x2) >= ax + layout::BOX_WIDTH / 2;
                prop_assert!(beside || y1.max(y2) <= ay || y1.min(y2) >= ay + layout::BOX_HEIGHT);
            }
        }
        for (at, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.kids.is_empty()) {
            let half = layout::BOX_WIDTH / 2;
            let xs = || cell.kids.iter().map(|&kid| place[kid].0);
            prop_assert!(xs().min().unwrap() - half <= place[at].0 && place[at].0 <= xs().max().unwrap() + half);
            prop_assert!(cell.kids.iter().all(|&kid| place[kid].1 > place[at].1));
            for leads in [false, true] {
                let group: Vec<_> = cell.kids.iter().filter(|&&kid| cells[kid].kids.is_empty() != leads).map(|&kid| place[kid]).collect();
                prop_assert!(group.is_sorted(), "{:?}", group);
            }
        }
    }

    #[test]
    fn everyone_is_shown_or_counted(people in any_tree(), depth in prop::option::of(0..8_u32)) {
        let cells = outline::Tree::new(&people, None).unwrap().outline(depth);
        let counted = cells.iter().map(|cell| match cell.what {
            outline::What::Person { folded, .. } => 1 + folded,
            outline::What::More { people, below, .. } => people + below,
        });
        prop_assert_eq!(counted.sum::<usize>(), people.len());
    }
}
