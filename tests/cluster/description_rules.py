"""For schemathesis: the rules of a request that a JSON schema cannot say, because they look from one member to another.

`schemathesis.toml` names this file. It holds a schema-valid request that is refused with 400 for a bug unless every
violation is of one of these rules. It also reads msgpack answers, so that they are held against the schema too.
"""

from __future__ import annotations

import re
from typing import Any

import msgpack
import schemathesis
from schemathesis.core.failures import Failure

RULES = (
    re.compile(r"/required \S.* is not asked for in this call; "),
    re.compile(r"/models/\d+ the result key .* is taken by entry \d+; "),
    re.compile(r"/models/\d+/params/\S* unknown param of "),
    # stands beside the others in the list; alone it is a 404
    re.compile(r"/models/\d+ (there is no model|\S+ has no) "),
)


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Any) -> bool:
    """Whether a failure counts."""
    if type(failure).__name__ != "RejectedPositiveData" or response.status_code != 400:
        return True
    found = [f"{each['pointer']} {each['message']}" for each in response.json().get("errors", ())]
    return not found or not all(any(rule.match(each) for rule in RULES) for each in found)


@schemathesis.deserializer("application/msgpack")
def unpack(context: Any, response: Any) -> Any:
    """The answer's body."""
    return msgpack.unpackb(response.content)
