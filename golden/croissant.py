"""A datasheet as Croissant JSON-LD: how it travels to the registry and to anybody else who asks for the dataset.

Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html) describes the dataset, and its RAI
extension (https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html) has a property for most of our questions.
A question without an answer is absent, never an empty text. The same datasheet and data give the same text, so the
digest of the text can stand for its revision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from golden.datasheet import Facts

_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
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
"""The context that the specification prescribes, word for word."""

_CONFORMS_TO: Final = "http://mlcommons.org/croissant/1.0"

_PROPERTIES: Final = {
    "purpose": "rai:dataUseCases",
    "composition": "description",
    "collection_process": "rai:dataCollection",
    "preprocessing": "rai:dataPreprocessingProtocol",
    "known_gaps": "rai:dataLimitations",
    "personal_data": "rai:personalSensitiveInformation",
    "maintenance": "rai:dataReleaseMaintenancePlan",
}
"""Which property carries the answer to which question. The licence is a fact of its own."""


def render(facts: Facts, answers: Mapping[str, str], *, name: str, digest: str) -> str:
    """The JSON-LD.

    Args:
        facts: The datasheet's head.
        answers: Answers by question.
        name: The dataset's name.
        digest: SHA-256 over the dataset's files, one after the other, 64 hex digits.
    """
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "conformsTo": _CONFORMS_TO,
        # The digest's beginning as build metadata: other bytes are another version, and the number is the registry's.
        "version": f"1.0.0+{digest[:12]}",
        "distribution": [_data(digest)],
        **_described(facts),
        **{_PROPERTIES[key]: text for key, text in answers.items() if key in _PROPERTIES},
    }
    document.setdefault("description", facts.title or name)
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)


def _described(facts: Facts) -> dict[str, Any]:
    start, end = facts.period_start, facts.period_end
    described = {
        "alternateName": facts.title,
        "url": facts.url,
        "license": facts.licence,
        "creator": [{"@type": "sc:Person", "name": creator} for creator in facts.creators],
        "datePublished": facts.published.isoformat() if facts.published else None,
        "citeAs": facts.cite,
        "temporalCoverage": f"{start or '..'}/{end or '..'}" if start or end else None,
    }
    return {key: value for key, value in described.items() if value}


def _data(digest: str) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": "data",
        "name": "data",
        "description": "The dataset's files, one after the other.",
        "contentUrl": "data",
        "encodingFormat": "application/octet-stream",
        "sha256": digest,
    }
