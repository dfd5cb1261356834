"""Generations on disk, and the store of rendered programs that they name.

The store stands in the run directory: it holds environment values and lives no longer than the boot. That is why its
entries are renamed into place but not flushed: after a power cut the boot id differs, the whole run directory is thrown
away and rendered anew. What must outlive the boot (generations, ``current``, the box's key) is written durably.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from bootstrap.errors import DefinitionError, Unavailable
from bootstrap.rendering import Generation, Rendering, StoreEntry, parse_summary, render_summary
from bootstrap.world import clock, disk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from bootstrap.box import Box

KEPT_GENERATIONS = 5  # beside the one in force; their programs stay in the store, for a rollback
_FORMAT = b"1\n"  # of everything in the state directory that is read again
_IGNORED = ".gitignore"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def open_state(box: Box) -> None:
    """Make the state directories, ours alone; throw away a run directory of an earlier boot.

    The caller holds no lock yet: everything here may be done by several runs at once.
    """
    for path, mode in ((box.state, 0o755), (box.run, 0o700), (box.log, 0o755), (box.generations, 0o700)):
        disk.make_directory(path, mode)
    _keep_out_of_git(box)
    try:
        if refuse_other_owner(box).st_mode & 0o077:
            os.chmod(box.run, 0o700)
    except FileNotFoundError:
        return  # a ``down`` has removed it in this very moment; whoever then holds the lock makes it again


def refuse_other_owner(box: Box) -> os.stat_result:
    """What the run directory is like; raises DefinitionError where it is another user's, else FileNotFoundError."""
    status = os.stat(box.run)
    if status.st_uid != os.geteuid():
        raise DefinitionError(
            f'cannot use the state directory "{box.state}": it belongs to user {status.st_uid}, not to {os.geteuid()}\n'
            "  way out: run as its owner, or name another one with --state DIR"
        )
    return status


def _keep_out_of_git(box: Box) -> None:
    """The state may stand in somebody's checkout, and it holds environment values: `git add -A` must not take it."""
    path = f"{box.state}/{_IGNORED}"
    if not os.path.lexists(path):
        with contextlib.suppress(OSError):  # another run was quicker, or the disk is full: others will say so
            disk.write_new(path, b"*\n", 0o644, flush=False)


def settle_format(box: Box) -> None:
    """State that an older bootstrap has left is rendered anew; what a newer one has left is refused. Lock held.

    Raises DefinitionError. There has been one format so far, and at first no file that names it.
    """
    if refuse_newer_format(box) == _FORMAT:
        return
    forget_remembered(box)
    disk.write_durably(_format_of(box), _FORMAT)


def refuse_newer_format(box: Box) -> bytes | None:
    """The format that the state directory has, if any; raises DefinitionError for one that is not known here."""
    found = disk.read_if_there(_format_of(box))
    if found is not None and found.strip().isdigit() and int(found) > int(_FORMAT):
        raise DefinitionError(
            f'cannot use the state directory "{box.state}": a newer bootstrap has written it '
            f"(format {int(found)}; this one knows {int(_FORMAT)})\n"
            "  way out: install that version again, or run its `bootstrap down` first"
        )
    return found


def forget_earlier_boot(box: Box) -> None:
    """Empty the run directory if it was filled before the last reboot. Call it with the lock held."""
    with open(_BOOT_ID, "rb") as file:
        now = file.read().strip()
    marker = f"{box.run}/boot-id"
    if disk.read_if_there(marker) == now:
        return
    for name in os.listdir(box.run):
        if f"{box.run}/{name}" != box.lock:
            remove_tree(f"{box.run}/{name}")
    disk.make_directory(box.store, 0o700)
    disk.write_for_this_boot(marker, now)


def remove_leftovers(box: Box) -> None:
    """Remove what killed runs were making or removing: all that begins with a dot. Call it with the lock held."""
    for directory in (box.state, box.run, box.store, box.generations, box.mirrors):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # few boxes have mirrors
            for name in os.listdir(directory):
                if name.startswith(".") and name != _IGNORED:
                    remove_tree(f"{directory}/{name}")


def read_key(box: Box, *, keep: bool = True) -> bytes:
    """The box's secret for digests, made on first use; a dry run does not ``keep`` what it makes."""
    path = f"{box.state}/key"
    key = disk.read_if_there(path)
    if key is None or len(key) != 32:
        key = os.urandom(32)
        if keep:
            disk.write_durably(path, key)
    return key


def write_entries(box: Box, entries: Iterable[StoreEntry]) -> None:
    """Write the entries that are not in the store yet; each appears whole or not at all."""
    disk.make_directory(box.store, 0o700)  # somebody may have removed it since the boot
    for entry in entries:
        final = f"{box.store}/{entry.name}"
        if _is_whole(final, entry):
            continue
        remove_entry(final)
        partial = _unfinished(final)
        try:
            os.mkdir(partial, 0o700)
            for name, (content, mode) in entry.files.items():
                if "/" in name:
                    os.makedirs(os.path.dirname(f"{partial}/{name}"), mode=0o700, exist_ok=True)
                disk.write_new(f"{partial}/{name}", content, mode, flush=False)
            os.rename(partial, final)
        except OSError as error:
            raise disk.refused("write", final, error) from error


def _is_whole(path: str, entry: StoreEntry) -> bool:
    """Whether an entry stands there with every file; its name is a digest of their content."""
    try:
        return all(os.lstat(f"{path}/{name}").st_size == len(text) for name, (text, _) in entry.files.items())
    except (FileNotFoundError, NotADirectoryError):
        return False


def has_entries(box: Box, generation: Generation) -> bool:
    """Whether the store holds every program of this generation."""
    try:
        present = set(os.listdir(box.store))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return all(unit.store_name in present for unit in generation.units)


def write_generation(box: Box, rendering: Rendering) -> None:
    """Write store entries and the generation's summary; ``current`` is untouched."""
    write_entries(box, rendering.entries)
    generation = rendering.generation
    final = f"{box.generations}/{generation.id}"
    if read_generation(box, generation.id) == generation:
        return
    remove_entry(final)
    partial = _unfinished(final)
    disk.make_directory(partial, 0o700)
    disk.write_durably(f"{partial}/generation.json", render_summary(generation))
    try:
        os.rename(partial, final)
        disk.flush_directory(box.generations)
    except OSError as error:
        raise disk.refused("write", final, error) from error


def read_generation(box: Box, generation_id: str) -> Generation | None:
    """A generation by id; ``None`` if it is not there or was cut off."""
    try:
        text = disk.read_if_there(f"{box.generations}/{generation_id}/generation.json")
        return None if text is None else parse_summary(text)
    except (Unavailable, ValueError):
        return None


def read_generations(box: Box) -> list[tuple[Generation, str]]:
    """Every whole generation with the moment it was put in force last (RFC 3339), oldest first."""
    found = []
    try:
        names = os.listdir(box.generations)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise disk.refused("read", box.generations, error) from error
    for name in names:
        generation = read_generation(box, name)
        if generation is not None:
            found.append((os.stat(f"{box.generations}/{name}").st_mtime, generation))
    return [(generation, clock.text_of(moment)) for moment, generation in sorted(found, key=lambda pair: pair[0])]


def write_failed(box: Box, generation: Generation, programs: Iterable[str]) -> None:
    """Remember which programs could not be brought to what this generation wants; none is an answer too."""
    path = _failed_of(box, generation.id)
    names = sorted(programs)
    with contextlib.suppress(Unavailable):  # it is only known less well then where to go back to
        if names:
            disk.write_for_this_boot(path, json.dumps(dict.fromkeys(names, True)).encode())
        else:
            disk.remove_if_there(path)


def read_failed(box: Box, generation_id: str) -> tuple[str, ...]:
    """The same, read."""
    return tuple(disk.read_mapping(_failed_of(box, generation_id)))


def _failed_of(box: Box, generation_id: str) -> str:
    return f"{box.generations}/{generation_id}/failed.json"


def read_current(box: Box) -> Generation | None:
    """The generation in force."""
    try:
        return read_generation(box, os.path.basename(os.readlink(box.current)))
    except OSError:
        return None  # nothing is in force, or something stands there that is no link of ours


def switch_current(box: Box, generation: Generation) -> None:
    """Put a generation in force: one rename, the last step of every ``up``."""
    target = f"generations/{generation.id}"
    try:
        if os.readlink(box.current) == target:
            return
    except OSError:
        pass  # absent, or not a link: the rename below settles it
    temporary = f"{box.state}/.current.{os.urandom(6).hex()}"
    try:
        os.symlink(target, temporary)
        os.rename(temporary, box.current)
        os.utime(f"{box.generations}/{generation.id}")  # when it was last put in force: the order of `generations`
        disk.flush_directory(box.state)
    except OSError as error:
        disk.remove_if_there(temporary)
        raise disk.refused("switch", box.current, error) from error


def read_remembered(box: Box, inputs: bytes) -> Generation | None:
    """The generation that these very inputs were rendered into, if it is still there as a whole."""
    generation_id, _, remembered = (disk.read_if_there(f"{box.run}/remembered") or b"").partition(b"\n")
    if remembered != inputs:
        return None
    generation = read_generation(box, generation_id.decode(errors="replace"))
    if generation is None or not has_entries(box, generation):
        return None
    return generation


def write_remembered(box: Box, inputs: bytes, generation: Generation) -> None:
    """Remember what these inputs were rendered into; where the disk refuses, they are read once more than needed."""
    with contextlib.suppress(Unavailable):
        disk.write_for_this_boot(f"{box.run}/remembered", generation.id.encode() + b"\n" + inputs)


def forget_remembered(box: Box) -> None:
    """Make the next ``up`` read every input anew and write what the store lacks."""
    disk.remove_if_there(f"{box.run}/remembered")


def prune(box: Box, current: Generation, running: Iterable[str]) -> None:
    """Remove all but the newest generations, and store entries that neither they nor running programs need.

    It has to read every generation, so it waits until there are twice as many as are kept.
    """
    if len(os.listdir(box.generations)) <= 2 * KEPT_GENERATIONS:
        return
    others = [generation for generation, _ in read_generations(box) if generation.id != current.id]
    kept = [*others[-KEPT_GENERATIONS:], current]
    wanted = {unit.store_name for generation in kept for unit in generation.units} | set(running)
    _remove_all_but(box.store, wanted)
    _remove_all_but(box.generations, {generation.id for generation in kept})


def _remove_all_but(directory: str, names: Collection[str]) -> None:
    for name in os.listdir(directory):
        if name not in names:
            remove_entry(f"{directory}/{name}")


def remove_everything(box: Box) -> None:
    """What ``down`` leaves behind is logs, the services' own data and what was fetched. Call it with the lock held.

    The lock goes last: whoever finds none begins anew, and must not find us still at it.
    """
    from bootstrap.world import cgroups  # noqa: PLC0415 - only `down` needs it

    cgroups.remove(box)
    for path in (box.current, box.generations):
        remove_tree(path)
    for name in (
        "format",
        "key",
        "last-identity.json",
        "stopped.json",
        "secret-versions.json",
        "boot-report.json",
        _IGNORED,
    ):
        disk.remove_if_there(f"{box.state}/{name}")
    for name in os.listdir(box.run):
        if f"{box.run}/{name}" != box.lock:
            remove_tree(f"{box.run}/{name}")
    disk.remove_if_there(box.lock)
    with contextlib.suppress(OSError):  # somebody has begun anew
        os.rmdir(box.run)


def _format_of(box: Box) -> str:
    return f"{box.state}/format"


def _unfinished(path: str) -> str:
    """Where a directory stands until it is whole; what a killed run has left there is removed."""
    directory, name = os.path.split(path)
    partial = f"{directory}/.new-{name}"
    remove_tree(partial)
    return partial


def remove_entry(path: str) -> None:
    """Remove a directory that is whole or not there, for whoever looks at any moment."""
    if not os.path.lexists(path):
        return
    directory, name = os.path.split(path)
    aside = f"{directory}/.old-{name}"
    remove_tree(aside)
    try:
        os.rename(path, aside)
    except OSError as error:
        raise disk.refused("remove", path, error) from error
    remove_tree(aside)


def remove_tree(path: str) -> None:
    """Remove a file or a directory, following no link; what is not there is removed already."""
    try:
        if os.path.isdir(path) and not os.path.islink(path):
            import shutil  # noqa: PLC0415 - it imports every compressor there is

            shutil.rmtree(path)
        else:
            disk.remove_if_there(path)
    except OSError as error:
        raise disk.refused("remove", path, error) from error
