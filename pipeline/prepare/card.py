"""The data set card, `README.md` as the Hugging Face Hub reads it, and `croissant.json`, both from the manifests."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from seqviews.pipeline.manifest import Manifest, Split

HUB_SPLITS: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
HUB_LICENCES = {"cc0-1.0", "cc-by-4.0", "cc-by-3.0", "cc-by-sa-4.0", "cc-by-sa-3.0", "mit", "apache-2.0"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))
LISTED_SHARDS = 1000
MAX_CLASSES = 20


def dataset_card(manifests: Mapping[Split, Manifest]) -> str:
    """Return the text of a `README.md` for the manifests of a data set's splits, with a head in YAML."""
    first = next(iter(manifests.values()))
    info, features = first.dataset, first.dataset.features
    total = sum(map(len, manifests.values()))
    licence = info.licence.lower()
    files = [f"  - split: {HUB_SPLITS[split]}\n    path: {split}/*.tar" for split in manifests]
    known = licence in HUB_LICENCES
    head = [
        f"license: {licence if known else 'other'}",
        *([] if known else [f"license_name: {json.dumps(info.licence)}"]),
        f"pretty_name: {json.dumps(info.name)}",
        f"size_categories: [{next((name for bound, name in SIZES if total < bound), 'n>10M')}]",
        f"tags: [webdataset, {'video' if features.mel is None else 'audio'}]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *files,
    ]
    what = "Clips, uint8" if features.mel is None else "Log-mel segments, float32"
    rows = [f"| {s} | {len(m)} | {len(m.shards)} | {sum(e.bytes for e in m.shards)} |" for s, m in manifests.items()]
    factors = [f"- {name}: {_classes(classes)}" for name, classes in first.factors.items()]
    body = [
        f"# {info.name}",
        "",
        f"{what} {list(map(int, features.shape))}, as {features.codec} in WebDataset tars.",
        "",
        f"- Licence: {info.licence}",
        f"- Attribution: {info.attribution}",
        "",
        "| split | records | shards | bytes |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        *(["Factors, in the JSON of each record:", "", *factors, ""] if factors else []),
        "Written by seqviews; each split's `manifest.json` has the SHA-256 of every shard.",
    ]
    return "\n".join(["---", *head, "---", "", *body, ""])


def _classes(classes: list[str] | None) -> str:
    if classes is None:
        return "a trajectory, numbers for each frame"
    more = f" and {len(classes) - MAX_CLASSES} more" if len(classes) > MAX_CLASSES else ""
    return ", ".join(classes[:MAX_CLASSES]) + more


def croissant(manifests: Mapping[Split, Manifest]) -> str:
    """Return the text of a `croissant.json` (Croissant 1.0): the shards with their SHA-256, and the records' JSON.

    Of more than 1,000 shards only the manifests are listed, which have the SHA-256 of each.
    """
    info = next(iter(manifests.values())).dataset
    listed = sum(len(manifest.shards) for manifest in manifests.values()) <= LISTED_SHARDS
    distribution: list[dict[str, Any]] = []
    for split, manifest in manifests.items():
        if not listed:
            distribution.append(_file(f"{split}/manifest.json", "application/json", manifest.digest))
            continue
        names = [f"{split}/{shard.name}" for shard in manifest.shards]
        distribution += [
            _file(name, "application/x-tar", shard.sha256) for name, shard in zip(names, manifest.shards, strict=True)
        ]
        inside = {"containedIn": [{"@id": name} for name in names], "includes": "*.json"}
        about = {"@type": "cr:FileSet", "@id": f"{split}-records", "name": f"{split}-records", **inside}
        distribution.append({**about, "encodingFormat": "application/json"})
    found = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": info.name,
        "description": f"{info.modality}s in WebDataset tars",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": info.licence,
        "creator": {"@type": "sc:Organization", "name": info.attribution},
        "distribution": distribution,
        "recordSet": [_records(split, manifest.factors) for split, manifest in manifests.items()] if listed else [],
    }
    return json.dumps(found, indent=1) + "\n"


_CONTEXT = {  # the official one of Croissant 1.0, of which readers expect every key
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def _file(name: str, kind: str, sha256: str) -> dict[str, Any]:
    about = {"@type": "cr:FileObject", "@id": name, "name": name}
    return {**about, "contentUrl": name, "encodingFormat": kind, "sha256": sha256}


def _records(split: Split, factors: Collection[str]) -> dict[str, Any]:
    """The keys, and the JSON member as it is: mlcroissant applies no JSON path to the members of a tar."""
    about = f"JSON with key, source, frames and rate{', and of factors ' + ', '.join(factors) if factors else ''}"
    name = {"extract": {"fileProperty": "filename"}, "transform": {"regex": r"(.+)\.json"}}
    content = {"extract": {"fileProperty": "content"}}
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"{split}/{field}",
            "name": field,
            "description": description,
            "dataType": "sc:Text",
            "source": {"fileSet": {"@id": f"{split}-records"}, **source},
        }
        for field, description, source in (("key", "name of the record", name), ("json", about, content))
    ]
    return {"@type": "cr:RecordSet", "@id": split, "name": split, "field": fields}
