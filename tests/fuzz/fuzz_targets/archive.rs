//! Zip archives of images, and the classes that their folders stand for.
#![no_main]

use belamy_fuzz::containers::{Member, deflated, zip};
use belamy_fuzz::folder::{Folder, Slot};
use belamy_fuzz::source::Source;
use belamy_gan::data::archive::Archive;
use belamy_gan::data::folder;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FILE: Slot = Folder::new("archive").slot("x.zip");
}

/// An archive with right sums, then bytes that are changed in it.
fn described(source: &mut Source<'_>) -> Vec<u8> {
    let mut members = Vec::new();
    for _ in 0..source.choice(9) {
        let method = source.byte();
        let name = source.short().to_vec();
        let packed = source.short().to_vec();
        let size = (method >= 128).then(|| u32::from(source.word()) << (method % 17));
        let method = [0, 8, u16::from(method)][usize::from(method) % 3];
        members.push(Member { name, method, packed, size });
    }
    let mut file = zip(&members);
    while !source.is_empty() {
        let place = usize::from(source.word()) % file.len();
        // From the end, where the list is.
        let place = file.len() - 1 - place;
        file[place] = source.byte();
    }
    file
}

fn seeds() -> Vec<Vec<u8>> {
    let member = |name: &str, method: u16, content: &[u8]| {
        let packed = if method == 8 { deflated(content) } else { content.to_vec() };
        Member { name: name.into(), method, packed, size: None }
    };
    let mut seeds = Vec::new();
    let folders: [&[&str]; 5] = [
        &["a/one.png", "b/two.jpg"],
        &["one.ppm", "two.pgm"],
        &["a/1.png", "a/b/2.png", "a/c.png", "d/x.png"],
        &["a-b/x.png", "a/x.png", "__MACOSX/a.png", ".x.png"],
        &["readme.txt", "a/", "a/b.PNG"],
    ];
    for names in folders {
        let members: Vec<Member> = names
            .iter()
            .enumerate()
            .map(|(index, name)| member(name, if index % 2 == 0 { 0 } else { 8 }, &[b'x'; 40]))
            .collect();
        seeds.push([&[0], &zip(&members)[..]].concat());
        let mut described = vec![1, members.len() as u8];
        for Member { name, method, packed, .. } in &members {
            described.push(u8::from(*method == 8));
            described.push(name.len() as u8);
            described.extend(name);
            described.push(packed.len() as u8);
            described.extend(packed);
        }
        seeds.push(described);
    }
    seeds
}

fuzz_target!(init: belamy_fuzz::begin(seeds), |data: &[u8]| {
    let mut source = Source::new(data);
    let file = match source.choice(2) {
        0 => source.rest().to_vec(),
        _ => described(&mut source),
    };
    belamy_fuzz::written(&file);
    let Ok(archive) = Archive::from_bytes("x.zip", file.clone()) else { return };
    let mut images = false;
    for member in archive.members() {
        images |= [".png", ".jpg", ".jpeg", ".ppm", ".pgm"]
            .iter()
            .any(|ending| member.name.to_ascii_lowercase().ends_with(ending));
        if let Ok(content) = archive.read(member) {
            assert!(content.len() <= 1032 * file.len());
        }
    }
    if !images {
        return;
    }
    FILE.with(|slot| {
        slot.put(&file);
        let Ok((places, labels)) = folder::find(slot.path()) else { return };
        assert!(!places.is_empty() && places.len() <= archive.members().len());
        let Some(labels) = labels else { return };
        // Classes are numbered in the order of their folders' names, and each has an image.
        assert_eq!(places.len(), labels.len());
        let folders: Vec<Vec<String>> = places
            .iter()
            .map(|place| match place {
                folder::Place::Member(_, member) => {
                    let parts = member.name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    parts.split('/').map(str::to_owned).collect()
                }
                folder::Place::File(path) => unreachable!("{path:?} lies in no archive"),
            })
            .collect();
        let mut known = folders.clone();
        known.sort();
        known.dedup();
        for (folder, label) in folders.iter().zip(labels) {
            assert_eq!(known.binary_search(folder), Ok(label as usize), "{folders:?}");
        }
    });
});
