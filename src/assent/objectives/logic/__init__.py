"""What a loss means: preference structures over propositions such as "the policy says the chosen answer".

Source: Richardson, Srikumar, Sabharwal 2025, arXiv 2412.17696. A structure is a core formula P, a condition P_C and
an additive part P_A; with

    top = (P or P_A) and P_C,    bottom = (not P or P_A) and P_C,    rho = log WMC(top) - log WMC(bottom)

WMC the weighted model count with weights p(v) and 1 - p(v), a loss is a link on rho. Variables: `w`, `l` (the policy
gives the chosen, the rejected answer), `rw`, `rl` (the reference does).
"""

from assent.objectives.logic.parts import CHOSEN, ODDS, PLAIN, REFERENCED, Part
from assent.objectives.logic.structure import Structure

__all__ = ["CHOSEN", "ODDS", "PLAIN", "REFERENCED", "Part", "Structure"]
