! Draws samples of a run's generator, and writes their numbers to a file.
!
!     gfortran sample.f90 -lbelamy_c -o sample && ./sample RUN 16 7 samples.f32
module belamy
  use, intrinsic :: iso_c_binding
  implicit none
  interface
    function belamy_generator_open(run, device, generator) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      character(kind=c_char), intent(in) :: run(*), device(*)
      type(c_ptr), intent(out) :: generator
      integer(c_int) :: status
    end function
    function belamy_generator_elements(generator) bind(c) result(elements)
      import :: c_ptr, c_size_t
      type(c_ptr), value :: generator
      integer(c_size_t) :: elements
    end function
    function belamy_generator_sample(generator, seed, labels, count, out, room) bind(c) result(status)
      import :: c_float, c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: generator, labels
      integer(c_int64_t), value :: seed
      integer(c_size_t), value :: count, room
      real(c_float), intent(out) :: out(*)
      integer(c_int) :: status
    end function
    subroutine belamy_generator_free(generator) bind(c)
      import :: c_ptr
      type(c_ptr), value :: generator
    end subroutine
  end interface
end module

program sample
  use belamy
  implicit none
  character(len=4096) :: run, samples_word, seed_word, file
  integer(c_size_t) :: samples, numbers
  integer(c_int64_t) :: seed
  type(c_ptr) :: generator
  real(c_float), allocatable :: out(:)
  integer :: unit

  call get_command_argument(1, run)
  call get_command_argument(2, samples_word)
  call get_command_argument(3, seed_word)
  call get_command_argument(4, file)
  read (samples_word, *) samples
  read (seed_word, *) seed
  if (belamy_generator_open(trim(run)//c_null_char, 'cpu'//c_null_char, generator) /= 0) error stop 'the run cannot be opened'
  numbers = samples*belamy_generator_elements(generator)
  allocate (out(numbers))
  if (belamy_generator_sample(generator, seed, c_null_ptr, samples, out, numbers) /= 0) error stop 'sampling failed'
  open (newunit=unit, file=trim(file), access='stream', form='unformatted', status='replace')
  write (unit) out
  close (unit)
  call belamy_generator_free(generator)
end program
