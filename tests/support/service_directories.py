"""Service directories as people have them, reduced to what runit sees of them: each tells in $EVIDENCE what happens.

Where a real one would start a server, these say so and sleep.
"""

from __future__ import annotations

SAY = 'say() { echo "$*" >>"$EVIDENCE/{name}"; }\n'
SLEEP = "exec sleep 1000\n"
SH = "#!/bin/sh\n"
LOG = SH + 'exec cat >>"$EVIDENCE/{name}.log"\n'
FINISH = SH + SAY + 'say finish "$@"\n'

# name → file → text; {name} is the directory's
DIRECTORIES = {
    "nginx": {
        "run": SH + SAY + "exec 2>&1\nsay run\necho nginx: starting\n" + SLEEP,
        "log/run": LOG,
        "log/finish": SH + SAY + "say log finish\n",
        "control/h": SH + "exit 0\n",
    },
    "sshd": {"run": SH + SAY + "exec 2>&1\nsay run $#\n[ -d /tmp ] || exit 1\n" + SLEEP, "finish": FINISH},
    "dhclient": {"run": SH + SAY + "say run\nset -e\ncd /\n" + SLEEP, "down": ""},
    "postgres": {
        "run": SH + SAY + "say run\ntrap 'say fast shutdown; exit 0' INT\ntrap 'say smart shutdown; exit 0' TERM\n"
        'echo $$ >"$EVIDENCE/{name}.pid"\nsay armed\nwhile :; do sleep 0.05; done\n',
        "control/t": SH + SAY + 'say control\nkill -INT "$(cat "$EVIDENCE/{name}.pid")"\n',
        "finish": FINISH,
    },
    "rails": {
        "run": SH + SAY + "exec 2>&1\nsay run\ntrap 'say TERM; kill $child; wait $child; exit 143' TERM\n"
        "sleep 1000 & child=$!\nsay armed\nwait $child\n",
        "finish": FINISH,
        "log/run": LOG,
    },
    "svlogd": {
        "run": SH + SAY + "exec 2>&1\nsay run\necho one\necho two\n" + SLEEP,
        "log/run": SH + 'mkdir -p "$EVIDENCE/{name}.svlogd"\nexec svlogd "$EVIDENCE/{name}.svlogd"\n',
        "log/config": "s1000000\nn5\n",
    },
    "chpst": {
        "run": SH
        + SAY
        + 'say run\nexec chpst -e ./env chpst -e ./env2 /bin/sh -c \'echo "$A $B $C" >>"$EVIDENCE/{name}";'
        " exec sleep 1000'\n",
        "env/A": "a\n",
        "env/B": "b with blanks \t \n",
        "env2/B": "over\n",
        "env2/C": "",
    },
    "cleans": {
        "run": SH + SAY + "say run\ntouch pidfile\n" + SLEEP,
        "finish": SH + SAY + "rm pidfile && say cleaned\n",
    },
    "fails-once": {
        "run": SH + SAY + '[ -e "$EVIDENCE/{name}.tried" ] || { touch "$EVIDENCE/{name}.tried"; say first; exit 7; }\n'
        "say second\n" + SLEEP,
        "finish": FINISH,
    },
    "checked": {
        "run": SH + SAY + 'say run\ntouch "$EVIDENCE/{name}.up"\n' + SLEEP,
        "check": SH + 'exec test -e "$EVIDENCE/{name}.up"\n',
    },
    "refuses": {
        "run": SH + SAY + "say run\ntrap 'say TERM; exit 0' TERM\nsay armed\nwhile :; do sleep 0.05; done\n",
        "control/t": SH + SAY + "say control refuses\nexit 1\n",
    },
    "not-executable": {"run": SH + SAY + "say run\n" + SLEEP, "finish": "plain text", "check": "plain text"},
    "stderr": {"run": SH + SAY + "say run\necho to the logger\necho elsewhere >&2\n" + SLEEP, "log/run": LOG},
    "pwd": {"run": SH + SAY + 'say run in "${PWD##*/}"\n' + SLEEP, "finish": SH + SAY + 'say finish in "${PWD##*/}"\n'},
    "umask": {"run": SH + SAY + "say $(umask)\n" + SLEEP},
    "stdin": {"run": SH + SAY + "say run\nif read line; then say read $line; else say end of input; fi\n" + SLEEP},
    "python": {
        "run": "#!/usr/bin/env python3\nimport os, time\n"
        "open(os.environ['EVIDENCE'] + '/{name}', 'a').write('run\\n')\ntime.sleep(1000)\n"
    },
    "group": {"run": SH + SAY + "say run\nsleep 1000 &\nsleep 1000 &\n" + SLEEP},
    "waits": {
        "run": SH + SAY + "say run\ntrap 'sleep 0.3; say late; exit 0' TERM\nsay armed\nwhile :; do sleep 0.05; done\n",
        "finish": FINISH,
    },
    "exits-3": {
        "run": SH + SAY + "say run\ntrap 'exit 3' TERM\nsay armed\nwhile :; do sleep 0.05; done\n",
        "finish": FINISH,
    },
    "quotes": {"run": SH + SAY + "say \"it's\" '100% $HOME' `echo sub`\n" + SLEEP},
    "sub-shell": {"run": SH + SAY + "(\nsay run\n" + SLEEP + ")\n", "finish": FINISH},
    "sources": {"run": SH + SAY + ". ./conf\nsay run with $OPTIONS\n" + SLEEP, "conf": 'OPTIONS="-a -b"\n'},
    "limits": {
        "run": SH + SAY + "exec 2>&1\nsay run\nulimit -n 100 && say $(ulimit -n)\nexec chpst -o 90 sleep 1000\n"
    },
    "logger-filters": {
        "run": SH + SAY + "exec 2>&1\nsay run\nfor word in a b c; do echo $word; done\n" + SLEEP,
        "log/run": SH + 'while read word; do echo "[$word]" >>"$EVIDENCE/{name}.log"; done\n',
    },
    "controlled": {
        "run": SH + SAY + "say run\ntrap 'say TERM; exit 0' TERM\nsay armed\nwhile :; do sleep 0.05; done\n",
        "control/u": SH + SAY + "say control u\n",
        "control/d": SH + 'echo down >>"$EVIDENCE/{name}.d"\n',
        "control/x": SH + 'echo never >>"$EVIDENCE/{name}.x"\n',
    },
    "last-words": {
        "run": SH + SAY + "say run\n" + SLEEP,
        "finish": SH + SAY + 'say finish "$@"\necho finish was here\n',
        "log/run": LOG,
    },
    "logger-by-hand": {
        "run": SH + SAY + "say run\n" + SLEEP,
        "log/run": SH + 'echo never >"$EVIDENCE/{name}.log"\nexec cat\n',
        "log/down": "",
    },
    "logger-checked": {
        "run": SH + SAY + "exec 2>&1\nsay run\necho one line\n" + SLEEP,
        "log/run": LOG,
        "log/check": SH + "exec true\n",
        "log/finish": SH + 'echo never >>"$EVIDENCE/{name}.finish"\n',
    },
    "everything": {
        "run": SH + SAY + "exec 2>&1\nsay run\necho hello\ntouch up\n" + SLEEP,
        "finish": SH + SAY + 'say finish "$@"\nrm -f up\n',
        "check": SH + "exec test -e up\n",
        "log/run": LOG,
        "control/t": SH + SAY + "say control\nexit 1\n",
    },
}
STARTED_BY_HAND = {"dhclient"}
ARMED = {name for name, files in DIRECTORIES.items() if "say armed" in files["run"]}


def write(directory):
    """All of them, below this directory."""
    for name, files in DIRECTORIES.items():
        for file, text in files.items():
            path = directory / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{name}", name))
            if text.startswith("#!"):
                path.chmod(0o755)
