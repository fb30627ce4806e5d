"""Losses: pure functions of likelihoods. One file per method; its name is the method's slug."""

from assent.objectives.alpha_dpo import AlphaDPO
from assent.objectives.alphapo import AlphaPO
from assent.objectives.aot import AOT
from assent.objectives.apo import APO
from assent.objectives.attenuated_dpo import AttenuatedDPO
from assent.objectives.bco import BCO
from assent.objectives.bco_pair import BCOPair
from assent.objectives.bdhs import BDHS
from assent.objectives.beta_dpo import BetaDPO
from assent.objectives.cal_dpo import CalDPO
from assent.objectives.cpo import CPO
from assent.objectives.dense_dpo import DenseDPO
from assent.objectives.diffusion_dpo import DiffusionDPO
from assent.objectives.diffusion_kto import DiffusionKTO
from assent.objectives.discopop import DiscoPOP
from assent.objectives.dove import DOVE
from assent.objectives.dpo import DPO
from assent.objectives.dpo_plus_nll import DPOPlusNLL
from assent.objectives.dpop import DPOP
from assent.objectives.dr_dpo import DrDPO
from assent.objectives.exo_pair import EXOPair
from assent.objectives.exo_rw import EXORW
from assent.objectives.formula import Formula
from assent.objectives.gpm import GPM
from assent.objectives.gpo import GPO
from assent.objectives.info_nca import InfoNCA
from assent.objectives.ipo import IPO
from assent.objectives.judged import Judged, Needs
from assent.objectives.knowpat import KnowPAT
from assent.objectives.kto import KTO
from assent.objectives.kto_pair import KTOPair
from assent.objectives.lcpo import LCPO
from assent.objectives.ld_dpo import LDDPO
from assent.objectives.length_dpo import LengthDPO
from assent.objectives.lipo import LiPO
from assent.objectives.ln_dpo import LNDPO
from assent.objectives.mapl import MAPL
from assent.objectives.mapo import MaPO
from assent.objectives.mdpo import MDPO
from assent.objectives.modpo import MODPO
from assent.objectives.nca import NCA
from assent.objectives.nca_pair import NCAPair
from assent.objectives.odpo import ODPO
from assent.objectives.orpo import ORPO
from assent.objectives.osp import OSP
from assent.objectives.pro_ranking import PRORanking
from assent.objectives.raco import RACO
from assent.objectives.re_align import ReAlign
from assent.objectives.registry import Objective, build_objective, objective_classes
from assent.objectives.reward_aware_rpo import RewardAwareRPO
from assent.objectives.robust_dpo import RobustDPO
from assent.objectives.rrhf import RRHF
from assent.objectives.selfie import Selfie
from assent.objectives.sequential_po import SequentialPO
from assent.objectives.sft import SFT
from assent.objectives.simper import SimPER
from assent.objectives.simpo import SimPO
from assent.objectives.slic_hf import SLiCHF
from assent.objectives.sppo import SPPO
from assent.objectives.step_aware import StepAware
from assent.objectives.tis_dpo import TISDPO
from assent.objectives.token_dpo import TokenDPO
from assent.objectives.tpo_free_lunch import TPOFreeLunch
from assent.objectives.vdpo import VDPO
from assent.objectives.weighted_sum import WeightedSum
from assent.objectives.wpo import WPO

METHODS = (
    "AOT",
    "APO",
    "AlphaDPO",
    "AlphaPO",
    "AttenuatedDPO",
    "BCO",
    "BCOPair",
    "BDHS",
    "BetaDPO",
    "CPO",
    "CalDPO",
    "DOVE",
    "DPO",
    "DPOP",
    "DPOPlusNLL",
    "DenseDPO",
    "DiffusionDPO",
    "DiffusionKTO",
    "DiscoPOP",
    "DrDPO",
    "EXOPair",
    "EXORW",
    "Formula",
    "GPM",
    "GPO",
    "IPO",
    "InfoNCA",
    "KTO",
    "KTOPair",
    "KnowPAT",
    "LCPO",
    "LDDPO",
    "LNDPO",
    "LengthDPO",
    "LiPO",
    "MAPL",
    "MDPO",
    "MODPO",
    "MaPO",
    "NCA",
    "NCAPair",
    "ODPO",
    "ORPO",
    "OSP",
    "PRORanking",
    "RACO",
    "RRHF",
    "ReAlign",
    "RewardAwareRPO",
    "RobustDPO",
    "SFT",
    "SLiCHF",
    "SPPO",
    "Selfie",
    "SequentialPO",
    "SimPER",
    "SimPO",
    "StepAware",
    "TISDPO",
    "TPOFreeLunch",
    "TokenDPO",
    "VDPO",
    "WPO",
)
"""The built-in methods; a test asserts that every file of the room is exported here."""

__all__ = [
    "AOT",
    "APO",
    "BCO",
    "BDHS",
    "CPO",
    "DOVE",
    "DPO",
    "DPOP",
    "EXORW",
    "GPM",
    "GPO",
    "IPO",
    "KTO",
    "LCPO",
    "LDDPO",
    "LNDPO",
    "MAPL",
    "MDPO",
    "METHODS",
    "MODPO",
    "NCA",
    "ODPO",
    "ORPO",
    "OSP",
    "RACO",
    "RRHF",
    "SFT",
    "SPPO",
    "TISDPO",
    "VDPO",
    "WPO",
    "AlphaDPO",
    "AlphaPO",
    "AttenuatedDPO",
    "BCOPair",
    "BetaDPO",
    "CalDPO",
    "DPOPlusNLL",
    "DenseDPO",
    "DiffusionDPO",
    "DiffusionKTO",
    "DiscoPOP",
    "DrDPO",
    "EXOPair",
    "Formula",
    "InfoNCA",
    "Judged",
    "KTOPair",
    "KnowPAT",
    "LengthDPO",
    "LiPO",
    "MaPO",
    "NCAPair",
    "Needs",
    "Objective",
    "PRORanking",
    "ReAlign",
    "RewardAwareRPO",
    "RobustDPO",
    "SLiCHF",
    "Selfie",
    "SequentialPO",
    "SimPER",
    "SimPO",
    "StepAware",
    "TPOFreeLunch",
    "TokenDPO",
    "WeightedSum",
    "build_objective",
    "objective_classes",
]
