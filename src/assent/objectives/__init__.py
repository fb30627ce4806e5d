"""Losses: pure functions of likelihoods. One file per method; its name is the method's slug."""

from assent.objectives.alpha_dpo import AlphaDPO
from assent.objectives.alphapo import AlphaPO
from assent.objectives.aot import AOT
from assent.objectives.apo import APO
from assent.objectives.bco_pair import BCOPair
from assent.objectives.beta_dpo import BetaDPO
from assent.objectives.cal_dpo import CalDPO
from assent.objectives.cpo import CPO
from assent.objectives.discopop import DiscoPOP
from assent.objectives.dpo import DPO
from assent.objectives.dpo_plus_nll import DPOPlusNLL
from assent.objectives.dpop import DPOP
from assent.objectives.dr_dpo import DrDPO
from assent.objectives.exo_pair import EXOPair
from assent.objectives.exo_rw import EXORW
from assent.objectives.gpo import GPO
from assent.objectives.info_nca import InfoNCA
from assent.objectives.ipo import IPO
from assent.objectives.judged import Judged, Needs
from assent.objectives.kto import KTO
from assent.objectives.kto_pair import KTOPair
from assent.objectives.ld_dpo import LDDPO
from assent.objectives.length_dpo import LengthDPO
from assent.objectives.ln_dpo import LNDPO
from assent.objectives.nca import NCA
from assent.objectives.nca_pair import NCAPair
from assent.objectives.odpo import ODPO
from assent.objectives.orpo import ORPO
from assent.objectives.registry import Objective, build_objective, objective_classes
from assent.objectives.reward_aware_rpo import RewardAwareRPO
from assent.objectives.robust_dpo import RobustDPO
from assent.objectives.rrhf import RRHF
from assent.objectives.sft import SFT
from assent.objectives.simper import SimPER
from assent.objectives.simpo import SimPO
from assent.objectives.slic_hf import SLiCHF
from assent.objectives.sppo import SPPO
from assent.objectives.tis_dpo import TISDPO
from assent.objectives.token_dpo import TokenDPO
from assent.objectives.weighted_sum import WeightedSum
from assent.objectives.wpo import WPO

METHODS = (
    "AOT",
    "APO",
    "AlphaDPO",
    "AlphaPO",
    "BCOPair",
    "BetaDPO",
    "CPO",
    "CalDPO",
    "DPO",
    "DPOP",
    "DPOPlusNLL",
    "DiscoPOP",
    "DrDPO",
    "EXOPair",
    "EXORW",
    "GPO",
    "IPO",
    "InfoNCA",
    "KTO",
    "KTOPair",
    "LDDPO",
    "LNDPO",
    "LengthDPO",
    "NCA",
    "NCAPair",
    "ODPO",
    "ORPO",
    "RRHF",
    "RewardAwareRPO",
    "RobustDPO",
    "SFT",
    "SLiCHF",
    "SPPO",
    "SimPER",
    "SimPO",
    "TISDPO",
    "TokenDPO",
    "WPO",
)
"""The built-in methods; a test asserts that every file of the room is exported here."""

__all__ = [
    "AOT",
    "APO",
    "CPO",
    "DPO",
    "DPOP",
    "EXORW",
    "GPO",
    "IPO",
    "KTO",
    "LDDPO",
    "LNDPO",
    "METHODS",
    "NCA",
    "ODPO",
    "ORPO",
    "RRHF",
    "SFT",
    "SPPO",
    "TISDPO",
    "WPO",
    "AlphaDPO",
    "AlphaPO",
    "BCOPair",
    "BetaDPO",
    "CalDPO",
    "DPOPlusNLL",
    "DiscoPOP",
    "DrDPO",
    "EXOPair",
    "InfoNCA",
    "Judged",
    "KTOPair",
    "LengthDPO",
    "NCAPair",
    "Needs",
    "Objective",
    "RewardAwareRPO",
    "RobustDPO",
    "SLiCHF",
    "SimPER",
    "SimPO",
    "TokenDPO",
    "WeightedSum",
    "build_objective",
    "objective_classes",
]
