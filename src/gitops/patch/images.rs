//! Which images edits bring, as far as they name any. Pure.

use crate::gitops::edits::{Edit, Options, Pin, Target, Wanted};

/// The images of edits, each once, in their order.
pub(super) fn images(edits: &[Edit], options: &Options) -> Vec<Wanted> {
    let given = options.image.as_deref().and_then(|image| Wanted::parse(image).ok());
    let mut all: Vec<Wanted> = Vec::new();
    for edit in edits {
        let image = match &edit.target {
            Target::Image { image, .. }
            | Target::Helm { image, .. }
            | Target::Marker { image, .. } => image.clone().or_else(|| given.clone()),
            Target::Kustomize(_) => entry(&edit.text, given.as_ref()),
            Target::ArgocdImage { .. } => {
                let text =
                    edit.text.split_once("//").map_or(edit.text.as_str(), |(_, entry)| entry);
                entry(text, given.as_ref())
            }
            Target::Chart { .. }
            | Target::Value { .. }
            | Target::Parameter { .. }
            | Target::Patch(_) => None,
        };
        let pin: Option<Pin> = edit.pin.or(options.pin);
        let image = image.map(|image| match pin {
            Some(pin) => image.pinned(pin).unwrap_or(image),
            None => image,
        });
        if let Some(image) = image.filter(|image| !all.contains(image)) {
            all.push(image);
        }
    }
    all
}

/// The image of `NAME[=NEWNAME][:TAG][@DIGEST]`; of a name alone, the one that is given.
fn entry(text: &str, given: Option<&Wanted>) -> Option<Wanted> {
    let (name, rest) = text.split_once('=').unwrap_or(("", text));
    // `*` keeps what there is, which is not known here.
    let rest = rest.replace(":*", "").replace("@*", "");
    let rest = rest.strip_prefix('*').map_or(rest.clone(), |rest| format!("{name}{rest}"));
    let full = if rest.starts_with([':', '@']) { format!("{name}{rest}") } else { rest };
    let image = Wanted::parse(&full).ok()?;
    if image.tag().is_none() && image.digest().is_none() {
        return given.cloned();
    }
    Some(image)
}

/// Name and tag, as a trailer has them.
pub(super) fn tagged(image: &Wanted) -> String {
    let name = image.name().unwrap_or_default();
    image.tag().map_or_else(|| name.to_owned(), |tag| format!("{name}:{tag}"))
}

/// The whole reference.
pub(super) fn whole(image: &Wanted) -> String {
    match image.digest() {
        Some(digest) => format!("{}@{digest}", tagged(image)),
        None => tagged(image),
    }
}

/// The last part of the name.
pub(super) fn short_name(image: &Wanted) -> &str {
    image.name().and_then(|name| name.rsplit('/').next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gitops::edits::Flag;

    #[test]
    fn finds_the_images_of_edits() {
        let digest = crate::image::Digest::of(b"x").to_string();
        let pinned = format!("r/app:2@{digest}");
        for (flag, text, expected) in [
            (Flag::SetImage, "app=r/app:2", "r/app:2"),
            (Flag::SetImage, "app=:2", ":2"),
            (Flag::SetImage, "app", pinned.as_str()),
            (Flag::KustomizeImage, "app:2", "app:2"),
            (Flag::KustomizeImage, "app=r:5/new:2", "r:5/new:2"),
            (Flag::KustomizeImage, "app=*:2", "app:2"),
            (Flag::KustomizeImage, "app=:2", "app:2"),
            (Flag::KustomizeImage, "app", pinned.as_str()),
            (Flag::ArgocdKustomizeImage, "web//app:2", "app:2"),
            (Flag::HelmImage, "image=r/app:2", "r/app:2"),
            (Flag::Marker, "p=r/app:2", "r/app:2"),
            (Flag::Set, "image.tag=2", ""),
        ] {
            let edits = [Edit::parse(flag, text).unwrap()];
            let options = Options { image: Some(pinned.clone()), ..Options::default() };
            let found: Vec<String> = images(&edits, &options).iter().map(whole).collect();
            assert_eq!(found.join(" "), expected, "{text}");
        }
        let edits =
            ["a=r/app", "b", "c=r/app:2"].map(|text| Edit::parse(Flag::SetImage, text).unwrap());
        let options =
            Options { image: Some(pinned.clone()), pin: Some(Pin::Tag), ..Options::default() };
        let found: Vec<String> = images(&edits[1..], &options).iter().map(whole).collect();
        assert_eq!(found, ["r/app:2"], "the same image once");
    }
}
