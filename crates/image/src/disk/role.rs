//! What partitions are for: the types of the
//! [Discoverable Partitions Specification](https://uapi-group.org/specifications/specs/discoverable_partitions_specification/).

use std::fmt;

/// What a partition is for, and so where it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The root directory.
    Root,
    /// `/usr`.
    Usr,
    /// `/home`.
    Home,
    /// `/srv`.
    Srv,
    /// `/var`.
    Var,
    /// `/var/tmp`.
    Tmp,
    /// The EFI system partition, `/efi` or `/boot`.
    Esp,
    /// More room for boot loaders, `/boot`.
    Xbootldr,
}

impl Role {
    /// As people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Usr => "usr",
            Self::Home => "home",
            Self::Srv => "srv",
            Self::Var => "var",
            Self::Tmp => "tmp",
            Self::Esp => "esp",
            Self::Xbootldr => "xbootldr",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The partition types that differ between processors.
#[derive(Clone, Copy, Debug)]
pub struct Architecture {
    /// Its name.
    pub name: &'static str,
    root: u128,
    usr: u128,
    root_verity: u128,
    usr_verity: u128,
}

const ESP: u128 = 0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b;
const XBOOTLDR: u128 = 0xbc13_c2ff_59e6_4262_a352_b275_fd6f_7172;
const HOME: u128 = 0x933a_c7e1_2eb4_4f13_b844_0e14_e2ae_f915;
const SRV: u128 = 0x3b8f_8425_20e0_4f3b_907f_1a25_a76f_98e8;
const VAR: u128 = 0x4d21_b016_b534_45c2_a9fb_5c16_e091_fd2d;
const TMP: u128 = 0x7ec6_f557_3bc5_4aca_b293_16ef_5df6_39d1;
const GENERIC: u128 = 0x0fc6_3daf_8483_4772_8e79_3d69_d847_7de4;

/// What a type of partition means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// For any processor.
    Common(Role),
    /// For this one.
    Of(&'static str, Role),
    /// The hashes of such a partition.
    Verity(&'static str, Role),
    /// Linux, and no more is said.
    Generic,
    /// Something that is not mounted.
    Other,
}

/// The meaning of a type.
pub(super) fn meaning(kind: u128) -> Meaning {
    match kind {
        ESP => return Meaning::Common(Role::Esp),
        XBOOTLDR => return Meaning::Common(Role::Xbootldr),
        HOME => return Meaning::Common(Role::Home),
        SRV => return Meaning::Common(Role::Srv),
        VAR => return Meaning::Common(Role::Var),
        TMP => return Meaning::Common(Role::Tmp),
        GENERIC => return Meaning::Generic,
        _ => {}
    }
    ARCHITECTURES
        .iter()
        .find_map(|one| match kind {
            kind if kind == one.root => Some(Meaning::Of(one.name, Role::Root)),
            kind if kind == one.usr => Some(Meaning::Of(one.name, Role::Usr)),
            kind if kind == one.root_verity => Some(Meaning::Verity(one.name, Role::Root)),
            kind if kind == one.usr_verity => Some(Meaning::Verity(one.name, Role::Usr)),
            _ => None,
        })
        .unwrap_or(Meaning::Other)
}

/// The processors whose programs run here, the machine's own first.
#[must_use]
pub fn native() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "x86_64" => &["x86-64", "x86"],
        "x86" => &["x86"],
        "aarch64" => &["arm64", "arm"],
        "arm" => &["arm"],
        "riscv64" => &["riscv64"],
        "riscv32" => &["riscv32"],
        "loongarch64" => &["loongarch64"],
        "s390x" => &["s390x", "s390"],
        "powerpc" => &["ppc"],
        "powerpc64" if cfg!(target_endian = "little") => &["ppc64-le"],
        "powerpc64" => &["ppc64", "ppc"],
        "mips" if cfg!(target_endian = "little") => &["mips-le"],
        "mips" => &["mips"],
        "mips64" if cfg!(target_endian = "little") => &["mips64-le", "mips-le"],
        "mips64" => &["mips64", "mips"],
        _ => &[],
    }
}

const ARCHITECTURES: [Architecture; 21] = [
    Architecture {
        name: "alpha",
        root: 0x6523_f8ae_3eb1_4e2a_a05a_18b6_95ae_656f,
        usr: 0xe18c_f08c_33ec_4c0d_8246_c6c6_fb3d_a024,
        root_verity: 0xfc56_d9e9_e6e5_4c06_be32_e744_07ce_09a5,
        usr_verity: 0x8cce_0d25_c0d0_4a44_bd87_4633_1bf1_df67,
    },
    Architecture {
        name: "arc",
        root: 0xd27f_46ed_2919_4cb8_bd25_9531_f3c1_6534,
        usr: 0x7978_a683_6316_4922_bbee_38bf_f5a2_fecc,
        root_verity: 0x24b2_d975_0f97_4521_afa1_cd53_1e42_1b8d,
        usr_verity: 0xfca0_598c_d880_4591_8c16_4eda_05c7_347c,
    },
    Architecture {
        name: "arm",
        root: 0x69da_d710_2ce4_4e3c_b16c_21a1_d49a_bed3,
        usr: 0x7d03_59a3_02b3_4f0a_865c_6544_03e7_0625,
        root_verity: 0x7386_cdf2_203c_47a9_a498_f2ec_ce45_a2d6,
        usr_verity: 0xc215_d751_7bcd_4649_be90_6627_490a_4c05,
    },
    Architecture {
        name: "arm64",
        root: 0xb921_b045_1df0_41c3_af44_4c6f_280d_3fae,
        usr: 0xb0e0_1050_ee5f_4390_949a_9101_b171_04e9,
        root_verity: 0xdf33_00ce_d69f_4c92_978c_9bfb_0f38_d820,
        usr_verity: 0x6e11_a4e7_fbca_4ded_b9e9_e1a5_12bb_664e,
    },
    Architecture {
        name: "ia64",
        root: 0x993d_8d3d_f80e_4225_855a_9daf_8ed7_ea97,
        usr: 0x4301_d2a6_4e3b_4b2a_bb94_9e0b_2c42_25ea,
        root_verity: 0x86ed_10d5_b607_45bb_8957_d350_f23d_0571,
        usr_verity: 0x6a49_1e03_3be7_4545_8e38_8332_0e0e_a880,
    },
    Architecture {
        name: "loongarch64",
        root: 0x7705_5800_792c_4f94_b39a_98c9_1b76_2bb6,
        usr: 0xe611_c702_575c_4cbe_9a46_434f_a0bf_7e3f,
        root_verity: 0xf339_3b22_e9af_4613_a948_9d3b_fbd0_c535,
        usr_verity: 0xf46b_2c26_59ae_48f0_9106_c50e_d47f_673d,
    },
    Architecture {
        name: "mips",
        root: 0xe943_4544_6e2c_47cc_bae2_12d6_deaf_b44c,
        usr: 0x773b_2abc_2a99_4398_8bf5_03ba_ac40_d02b,
        root_verity: 0x7a43_0799_f711_4c7e_8e5b_1d68_5bd4_8607,
        usr_verity: 0x6e5a_1bc8_d223_49b7_bca8_37a5_fcce_b996,
    },
    Architecture {
        name: "mips-le",
        root: 0x37c5_8c8a_d913_4156_a25f_48b1_b64e_07f0,
        usr: 0x0f48_68e9_9952_4706_979f_3ed3_a473_e947,
        root_verity: 0xd7d1_50d2_2a04_4a33_8f12_1665_1205_ff7b,
        usr_verity: 0x46b9_8d8d_b55c_4e8f_aab3_37fc_a7f8_0752,
    },
    Architecture {
        name: "mips64",
        root: 0xd113_af76_80ef_41b4_bdb6_0cff_4d3d_4a25,
        usr: 0x57e1_3958_7331_4365_8e6e_35ee_ee17_c61b,
        root_verity: 0x5795_36f8_6a33_4055_a95a_df2d_5e2c_42a8,
        usr_verity: 0x81cf_9d90_7458_4df4_8dcf_c8a3_a404_f09b,
    },
    Architecture {
        name: "mips64-le",
        root: 0x700b_da43_7a34_4507_b179_eeb9_3d7a_7ca3,
        usr: 0xc97c_1f32_ba06_40b4_9f22_2360_61b0_8aa8,
        root_verity: 0x16b4_17f8_3e06_4f57_8dd2_9b52_32f4_1aa6,
        usr_verity: 0x3c3d_61fe_b5f3_414d_bb71_8739_a694_a4ef,
    },
    Architecture {
        name: "parisc",
        root: 0x1aac_db3b_5444_4138_bd9e_e5c2_239b_2346,
        usr: 0xdc4a_4480_6917_4262_a4ec_db93_8494_9f25,
        root_verity: 0xd212_a430_fbc5_49f9_a983_a7fe_ef2b_8d0e,
        usr_verity: 0x5843_d618_ec37_48d7_9f12_cea8_e087_68b2,
    },
    Architecture {
        name: "ppc",
        root: 0x1de3_f1ef_fa98_47b5_8dcd_4a86_0a65_4d78,
        usr: 0x7d14_fec5_cc71_415d_9d6c_06bf_0b3c_3eaf,
        root_verity: 0x98cf_e649_1588_46dc_b2f0_add1_4742_4925,
        usr_verity: 0xdf76_5d00_270e_49e5_bc75_f47b_b211_8b09,
    },
    Architecture {
        name: "ppc64",
        root: 0x912a_de1d_a839_4913_8964_a10e_ee08_fbd2,
        usr: 0x2c97_39e2_f068_46b3_9fd0_01c5_a9af_bcca,
        root_verity: 0x9225_a9a3_3c19_4d89_b4f6_eeff_88f1_7631,
        usr_verity: 0xbdb5_28a5_a259_475f_a87d_da53_fa73_6a07,
    },
    Architecture {
        name: "ppc64-le",
        root: 0xc31c_45e6_3f39_412e_80fb_4809_c498_0599,
        usr: 0x15bb_03af_77e7_4d4a_b12b_c0d0_84f7_491c,
        root_verity: 0x906b_d944_4589_4aae_a4e4_dd98_3917_446a,
        usr_verity: 0xee2b_9983_21e8_4153_86d9_b690_1a54_d1ce,
    },
    Architecture {
        name: "riscv32",
        root: 0x60d5_a7fe_8e7d_435c_b714_3dd8_1621_44e1,
        usr: 0xb933_fb22_5c3f_4f91_af90_e2bb_0fa5_0702,
        root_verity: 0xae02_53be_1167_4007_ac68_4392_6c14_c5de,
        usr_verity: 0xcb1e_e4e3_8cd0_4136_a0a4_aa61_a32e_8730,
    },
    Architecture {
        name: "riscv64",
        root: 0x72ec_70a6_cf74_40e6_bd49_4bda_08e8_f224,
        usr: 0xbeae_c34b_8442_439b_a40b_9843_81ed_097d,
        root_verity: 0xb6ed_5582_440b_4209_b8da_5ff7_c419_ea3d,
        usr_verity: 0x8f10_56be_9b05_47c4_81d6_be53_128e_5b54,
    },
    Architecture {
        name: "s390",
        root: 0x08a7_acea_624c_4a20_91e8_6e0f_a67d_23f9,
        usr: 0xcd0f_869b_d0fb_4ca0_b141_9ea8_7cc7_8d66,
        root_verity: 0x7ac6_3b47_b25c_463b_8df8_b4a9_4e6c_90e1,
        usr_verity: 0xb663_c618_e7bc_4d6d_90aa_11b7_56bb_1797,
    },
    Architecture {
        name: "s390x",
        root: 0x5eea_d9a9_fe09_4a1e_a1d7_520d_0053_1306,
        usr: 0x8a4f_5770_50aa_4ed3_874a_99b7_10db_6fea,
        root_verity: 0xb325_bfbe_c7be_4ab8_8357_139e_652d_2f6b,
        usr_verity: 0x3174_1cc4_1a2a_4111_a581_e00b_447d_2d06,
    },
    Architecture {
        name: "tilegx",
        root: 0xc50c_dd70_3862_4cc3_90e1_809a_8c93_ee2c,
        usr: 0x5549_7029_c7c1_44cc_aa39_815e_d155_8630,
        root_verity: 0x9660_61ec_28e4_4b2e_b4a5_1f0a_825a_1d84,
        usr_verity: 0x2fb4_bf56_07fa_42da_8132_6b13_9f20_26ae,
    },
    Architecture {
        name: "x86",
        root: 0x4447_9540_f297_41b2_9af7_d131_d5f0_458a,
        usr: 0x7525_0d76_8cc6_458e_bd66_bd47_cc81_a812,
        root_verity: 0xd13c_5d3b_b5d1_422a_b29f_9454_fdc8_9d76,
        usr_verity: 0x8f46_1b0d_14ee_4e81_9aa9_049b_6fb9_7abd,
    },
    Architecture {
        name: "x86-64",
        root: 0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709,
        usr: 0x8484_680c_9521_48c6_9c11_b072_0656_f69e,
        root_verity: 0x2c73_57ed_ebd2_46d9_aec1_23d4_37ec_2bf5,
        usr_verity: 0x77ff_5f63_e7b6_4633_acf4_1565_b864_c0e6,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_there_once() {
        let mut all: Vec<u128> =
            ARCHITECTURES.iter().flat_map(|one| [one.root, one.usr, one.root_verity, one.usr_verity]).collect();
        all.extend([ESP, XBOOTLDR, HOME, SRV, VAR, TMP, GENERIC]);
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(native().iter().all(|name| ARCHITECTURES.iter().any(|one| one.name == *name)));
        assert_eq!(meaning(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709), Meaning::Of("x86-64", Role::Root));
    }
}
