//! A device whose products are given operands that were rounded on the host: what products of rounded operands are held
//! to. What the device itself rounds after that is itself already, however it rounds.

use belamy_tensor::{Buffer, Call, DType, Device, Result, Wrapper};

/// Another device, with operands rounded before some launches.
#[derive(Clone, Debug)]
pub struct Rounding {
    /// What computes.
    pub device: Device,
    /// What a number becomes.
    pub round: fn(f32) -> f32,
    /// Whether a launch's operands are rounded.
    pub rounds: fn(&Call<'_>) -> bool,
}

impl Rounding {
    fn rounded(&self, buffer: &Buffer) -> Result<Buffer> {
        let size = if buffer.dtype == DType::F64 { 8 } else { 4 };
        let mut bytes = vec![0; buffer.elements * size];
        self.device.backend().read(buffer, &mut bytes)?;
        for number in bytes.chunks_exact_mut(size) {
            if let Ok(bytes) = <[u8; 8]>::try_from(&*number) {
                let rounded = (self.round)(f64::from_ne_bytes(bytes) as f32);
                number.copy_from_slice(&f64::from(rounded).to_ne_bytes());
            } else if let Ok(bytes) = <[u8; 4]>::try_from(&*number) {
                number.copy_from_slice(&(self.round)(f32::from_ne_bytes(bytes)).to_ne_bytes());
            }
        }
        let mut rounded = self.device.backend().alloc(buffer.dtype, buffer.elements)?;
        self.device.backend().write(&mut rounded, &bytes)?;
        Ok(rounded)
    }
}

impl Wrapper for Rounding {
    fn inner(&self) -> &Device {
        &self.device
    }

    fn launch(&self, call: Call<'_>) -> Result<()> {
        if !(self.rounds)(&call) {
            return self.device.backend().launch(call);
        }
        let rounded = call.inputs.iter().map(|input| self.rounded(input));
        let rounded = rounded.collect::<Result<Vec<Buffer>>>()?;
        let inputs: Vec<&Buffer> = rounded.iter().collect();
        self.device.backend().launch(Call { inputs: &inputs, ..call })
    }
}
