"""`.tool-versions` as text."""

from __future__ import annotations

import pytest

from bootstrap.reading.problem import FlawedError, render_problems
from bootstrap.reading.tool_versions import Tool, parse_tool_versions


def parsed(text):
    return [(tool.name, tool.version, tool.line) for tool in parse_tool_versions(text.encode())]


def test_tools_stand_on_lines_with_comments_and_several_versions():
    text = "python 3.12.1 3.11 system # newest first\n\n# by hand\n  ruby\tref:v3_3_0\nnode path:/opt/node 20\r\n"
    assert parsed(text) == [
        ("python", "3.12.1", 1),
        ("python", "3.11", 1),
        ("python", "system", 1),
        ("ruby", "ref:v3_3_0", 4),
        ("node", "path:/opt/node", 5),
        ("node", "20", 5),
    ]
    assert parsed("") == []


def test_where_a_version_would_stand():
    assert Tool(name="nodejs", version="20.1.0", line=1).places == ("nodejs/20.1.0", "node/20.1.0")
    assert Tool(name="ruby", version="ref:main", line=1).places == ("ruby/ref-main",)
    assert Tool(name="npm:../x", version="3", line=1).places == ("npm-..-x/3",)


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (b"python\n", ["f:1: names no version of python"]),
        (
            b"../x 1\npython ../../etc ~/mine path:mine path:/a:/b -v\n",
            [
                'f:1: should begin with the name of a tool, not "../x"',
                'f:2: "../../etc" is no version of python',
                'f:2: "~/mine" is no version of python',
                'f:2: "path:mine" is no version of python',
                'f:2: "path:/a:/b" is no version of python',
                'f:2: "-v" is no version of python',
            ],
        ),
        (b"python \xff", ["f:1: is not valid UTF-8"]),
        (b"python 1\n\x1b[31m 2\n", ['f:2: should begin with the name of a tool, not "\\x1b[31m"']),
    ],
)
def test_what_is_no_tool_or_version_is_told_with_its_line(content, problems):
    with pytest.raises(FlawedError) as caught:
        parse_tool_versions(content)
    assert render_problems("f", caught.value.problems) == problems
