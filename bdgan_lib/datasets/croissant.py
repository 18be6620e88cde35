"""MLCommons Croissant 1.0: a data set's files with their sha256, and their fields, as JSON-LD."""

import re
from typing import Any

from bdgan_lib.core.types import Json
from bdgan_lib.datasets.shards import MANIFEST
from bdgan_lib.datasets.tar_format import IMAGE, JPEG, MASK, RECORD

_TERMS = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet",
    "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField",
    "transform",
)  # fmt: skip
_CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    **{key: f"cr:{key}" for key in _TERMS},
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
}  # as in the specification


def croissant(manifest: Json, manifest_sha256: str, licence: str) -> Json:
    """The Croissant metadata of a data set, given the sha256 of its manifest file.

    Record sets `images`, `masks` and `records` are paired by the id in the file name. The package mlcroissant
    unpacks shards into its cache by their names alone: give each data set a separate CROISSANT_CACHE.
    """
    known: dict[str, Any] = manifest
    jpeg = known.get("spec", {}).get("jpeg")
    image = JPEG if jpeg else IMAGE
    shards = [_file(s["name"], "application/x-tar", s["sha256"]) for s in known["shards"]]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": f"bdgan-{known['sha256'][:12]}",
        "description": f"{manifest['count']} synthetic images with a label for every pixel, in tar shards "
        "of WebDataset's form. README.md tells how they were made and what they are not good for.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": licence,
        "version": "1.0.0",
        "citeAs": "Li et al.: BigDatasetGAN: Synthesizing ImageNet with Pixel-wise Annotations. CVPR 2022.",
        "distribution": [
            _file(MANIFEST, "application/json", manifest_sha256),
            *shards,
            _files("image-files", f"image/{'jpeg' if jpeg else 'png'}", f"*[0-9]{image}", shards),
            _files("mask-files", "image/png", f"*{MASK}", shards),
            _files("record-files", "application/json", f"*{RECORD}", shards),
        ],
        "recordSet": [
            _contents("images", "image-files", image, "sc:ImageObject", "RGB"),
            _contents("masks", "mask-files", MASK, "sc:ImageObject", "label ids, 255 = unlabelled"),
            _contents("records", "record-files", RECORD, "sc:Text", "JSON: class_id, class_name, seed ..."),
        ],
    }


def _file(name: str, kind: str, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": kind,
        "sha256": sha256,
    }


def _files(id: str, kind: str, pattern: str, shards: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": id,
        "name": id,
        "containedIn": [{"@id": shard["@id"]} for shard in shards],
        "encodingFormat": kind,
        "includes": pattern,
    }


def _contents(id: str, files: str, suffix: str, kind: str, what: str) -> dict[str, Any]:
    """The record set of a file set: the id and the content of each file."""
    name = {"extract": {"fileProperty": "filename"}, "transform": {"regex": f"([^/]+){re.escape(suffix)}$"}}
    fields = [("id", "sc:Text", name), ("content", kind, {"extract": {"fileProperty": "content"}})]
    return {
        "@type": "cr:RecordSet",
        "@id": id,
        "description": what,
        "field": [
            {"@type": "cr:Field", "@id": f"{id}/{field}", "dataType": kind,
             "source": {"fileSet": {"@id": files}, **source}}
            for field, kind, source in fields
        ],
    }  # fmt: skip
