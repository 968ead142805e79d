"""The guards of the security rows, and the mutants that lack one each."""

from __future__ import annotations

from tests.contract.mutants.answers import ANSWERS
from tests.contract.mutants.asking import ASKING
from tests.contract.mutants.base import ROWS, Change, Mutant
from tests.contract.mutants.believing import BELIEVING
from tests.contract.mutants.binding import BINDING
from tests.contract.mutants.disconnecting import DISCONNECTING
from tests.contract.mutants.entering import ENTERING
from tests.contract.mutants.keeping import KEEPING
from tests.contract.mutants.refreshing import REFRESHING
from tests.contract.mutants.staff import STAFF

__all__ = ["MUTANTS", "ROWS", "Change", "Mutant"]

MUTANTS = (*REFRESHING, *DISCONNECTING, *ANSWERS, *BINDING, *KEEPING, *BELIEVING, *ENTERING, *STAFF, *ASKING)
